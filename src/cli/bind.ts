// `lessor bind` and `lessor unbind`. What binds is loaded only by who binds.
import type { Command } from 'commander';
import type { BindingOptionsGiven } from './run-bind.js';

async function bind(addresses: string[], options: BindingOptionsGiven): Promise<void> {
  const { runBind } = await import('./run-bind.js');
  await runBind(addresses, options);
}

async function unbind(addresses: string[], options: BindingOptionsGiven): Promise<void> {
  const { runUnbind } = await import('./run-bind.js');
  await runUnbind(addresses, options);
}

export function addBindCommands(program: Command): void {
  program
    .command('bind')
    .description('take PCI functions from the host and give them to vfio-pci')
    .argument('<function...>', 'addresses, as "lspci -D" writes them; together: all or none')
    .option('--force', 'also what the host uses: a mounted disk, a network interface, a bridge')
    .option('--json', 'JSON on stdout')
    .addHelpText(
      'after',
      `
Functions that the IOMMU cannot tell apart go together, or not at all.

Examples:
  lessor bind 0000:00:05.0
  lessor bind 03:00.0 03:00.1        both functions of a card, of one group
  lessor doctor 0000:00:05.0         then: what it can do`,
    )
    .action(bind);
  program
    .command('unbind')
    .description('give PCI functions back to the drivers that they had')
    .argument('<function...>', 'addresses, as "lspci -D" writes them')
    .option('--force', 'have the kernel ask who has it open to let go, and wait')
    .option('--json', 'JSON on stdout')
    .addHelpText(
      'after',
      `
Examples:
  lessor unbind 0000:00:05.0`,
    )
    .action(unbind);
}
