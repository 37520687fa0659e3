// `lessor demo`: the story.
import { type Command, Option } from 'commander';
import { printJson } from './output.js';

interface DemoOptions {
  readonly function?: string;
  readonly json?: boolean;
  readonly hold?: boolean;
  readonly leakDescriptor?: boolean;
}

async function demo(options: DemoOptions): Promise<void> {
  // Loaded only here: other commands start faster.
  const { runDemo } = await import('../demo/run.js');
  const report = await runDemo({
    source: options.function,
    hold: options.hold ?? false,
    leakDescriptor: options.leakDescriptor ?? false,
  });
  if (options.json) printJson(report);
  process.exitCode = report.ok ? 0 : 1;
}

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('one broker, several clients: what is promised, attacked and measured')
    .option('--function <source>', 'an mqdma that is there: a PCI address, or vfio-user:PATH')
    .option('--json', 'the findings as JSON on stdout, the story on stderr')
    .option('--hold', 'leave the last broker running until a signal')
    .addOption(new Option('--leak-descriptor').hideHelp())
    .action(demo);
}
