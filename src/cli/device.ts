// `lessor device`: its commands and options. The devices are loaded only by who serves or lists.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseCount, parseDurationMs } from './arguments.js';
import type { ServeDeviceOptions } from './run-device.js';

async function serve(name: string, options: ServeDeviceOptions): Promise<void> {
  const { serveNamedDevice } = await import('./run-device.js');
  await serveNamedDevice(name, options);
}

async function list(options: { readonly json?: boolean }): Promise<void> {
  const { listDevices } = await import('./run-device.js');
  listDevices(options.json ?? false);
}

/** "0600" -> 0o600. */
function parseMode(text: string): number {
  if (/^0?[0-7]{3}$/.test(text)) return Number.parseInt(text, 8);
  throw new InvalidArgumentError('give the mode in octal: "0600"');
}

export function addDeviceCommand(program: Command): void {
  const device = program
    .command('device')
    .description('serve a device in software over vfio-user, to a VM monitor or a broker');
  device
    .command('serve')
    .description('serve one device on a socket until a signal')
    .argument('<name>', 'counter, edu or mqdma')
    .requiredOption('--listen <path>', 'socket to listen on')
    .option('--mode <octal>', 'mode of the socket: who may connect', parseMode, 0o600)
    .addOption(
      new Option('--dma <way>', 'direct: by mapped memory where it can be; message: never')
        .choices(['direct', 'message'])
        .default('direct'),
    )
    .option('--detachable-windows', 'let a broker give its leases windows that clients map')
    .option('--queues <count>', 'mqdma: its queues, 1 to 1024 (default: 16)', parseCount)
    .option('--fault-injection', 'mqdma: let whoever drives it have it misbehave')
    .option('--dma-bits <count>', 'edu: bits of a DMA address, 12 to 48 (default: 28)', parseCount)
    .option('--dma-delay <time>', 'edu: from command to DMA (default: 100ms)', parseDurationMs)
    .addOption(
      new Option('--log <level>', 'debug, info, warn or error')
        .choices(['debug', 'info', 'warn', 'error'])
        .default('warn'),
    )
    .option('--json', 'one JSON line on stdout when ready')
    .addHelpText(
      'after',
      `
One client at a time; the next one waits. The device keeps its state between them.

Examples:
  lessor device serve edu --listen /tmp/edu.sock
  lessor device serve mqdma --queues 4 --listen /run/vm/mqdma.sock --mode 0660

In QEMU 10.1 or newer, whose memory must be shared with the device:
  -M q35,memory-backend=m -m 1G -object memory-backend-memfd,id=m,size=1G,share=on
  -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/edu.sock"}}'`,
    )
    .action(serve);
  device
    .command('list')
    .description('the devices that can be served')
    .option('--json', 'JSON on stdout')
    .action(list);
}
