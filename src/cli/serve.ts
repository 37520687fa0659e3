// `lessor serve`: its options. The broker is loaded only by who serves: others start faster.
import { type Command, Option } from 'commander';
import { parseCount, parsePatience } from './arguments.js';
import type { ServeOptions } from './run-serve.js';

async function serve(options: ServeOptions, command: Command): Promise<void> {
  const { serve: run } = await import('./run-serve.js');
  await run(options, command);
}

export function addServeCommand(program: Command): void {
  program
    .command('serve')
    .description('own a function and lease its slices')
    .option(
      '--driver <name>',
      'built-in (mqdma, edu), package or path; default: the built-in that fits the function',
    )
    .option('--isolation <mode>', 'pasid, device-bounds or cooperative, as the driver offers')
    .option('--function <source>', 'vfio-user:PATH or a PCI address, not one of its own')
    .option('--queues <count>', 'queues of the emulated mqdma', parseCount, 16)
    .option('--name <name>', 'name of the function and its socket (default: mqdma0 or edu0)')
    .option('--allow-cooperative', 'lease slices whose clients can reach each other')
    .option('--allow-unsealed-memory', 'take client memory without F_SEAL_SHRINK')
    .option('--force-dma-buf-windows', 'map registers for users whom the kernel is not safe from')
    .option(
      '--dma-buf-features <which>',
      "how to find what takes a PCI function's windows back: look, none, or its number",
      'look',
    )
    .option(
      '--allow-process',
      'give the device itself to those who ask, and kill them to have it back',
    )
    .option(
      '--patience <factor>',
      'deadlines of the device so many times as long: a slow device, an emulated machine',
      parsePatience,
      1,
    )
    .option('--fault-injection', 'offer the admin method Inject')
    .addOption(
      new Option('--log <level>', 'debug, info, warn or error')
        .choices(['debug', 'info', 'warn', 'error'])
        .default('warn'),
    )
    .option('--json', 'one JSON line on stdout when ready')
    // For the proof that a leak is found: one descriptor lost per ended lease.
    .addOption(new Option('--leak-descriptor').hideHelp())
    .addHelpText(
      'after',
      `
Examples:
  lessor serve
  lessor serve --isolation device-bounds --queues 64
  lessor serve --driver edu
  lessor serve --function vfio-user:/run/device.sock
  lessor serve --function 0000:00:05.0
  lessor --socket /tmp/my.sock serve --log info`,
    )
    .action(serve);
}
