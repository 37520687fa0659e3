// `lessor doctor`. What examines is loaded only by who asks.
import type { Command } from 'commander';

async function doctor(addresses: string[], options: { readonly json?: boolean }): Promise<void> {
  const { runDoctor } = await import('./run-doctor.js');
  await runDoctor(addresses, options);
}

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('say what this machine and its functions can do, and what to do about the rest')
    .argument('[function...]', 'addresses; without: every function that vfio-pci has')
    .option('--json', 'JSON on stdout')
    .addHelpText(
      'after',
      `
A function that nobody has is opened for a moment, which resets it; one in use is left alone.
The exit status is 1 when something failed. What is warned of takes away a part, not all.

Examples:
  lessor doctor
  lessor doctor 0000:00:05.0 --json`,
    )
    .action(doctor);
}
