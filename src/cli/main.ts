// The command line: parses, calls a command, turns errors into exit statuses.
import { Command, CommanderError } from 'commander';
import { packageVersion } from '../broker/version.js';
import { addAcquireCommand } from './acquire.js';
import { addBindCommands } from './bind.js';
import { addDemoCommand } from './demo.js';
import { addDeviceCommand } from './device.js';
import { addDoctorCommand } from './doctor.js';
import { complaintOf, exitStatus } from './exit.js';
import { addListingCommands } from './listing.js';
import { addOperatorCommands } from './operator.js';
import { tell } from './output.js';
import { addServeCommand } from './serve.js';

function createProgram(): Command {
  const program = new Command('lessor')
    .description('Leases narrow, revocable slices of a PCI function to client processes.')
    .version(packageVersion())
    .option('--socket <path>', 'control socket of the broker (or $LESSOR_SOCKET)')
    .showHelpAfterError('(lessor --help shows the commands)')
    .addHelpText(
      'after',
      `
Examples:
  lessor demo                              the whole story, on an emulated function
  lessor serve                             own a function and lease its slices
  lessor acquire --memory 1m -- ./client   run a program that holds a lease
  lessor leases --json                     what is leased, for programs

Exit status: 0 ok, 1 failure, 2 usage, 3 not ready, 4 denied, 5 busy, 6 revoked.`,
    )
    .exitOverride()
    .enablePositionalOptions();
  addServeCommand(program);
  addDemoCommand(program);
  addListingCommands(program);
  addAcquireCommand(program);
  addOperatorCommands(program);
  addDeviceCommand(program);
  addBindCommands(program);
  addDoctorCommand(program);
  return program;
}

async function main(): Promise<void> {
  // A reader that has seen enough (lessor leases | head) is not a failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitStatus.ok);
    throw error;
  });
  // Nobody reads the log or the story any more: no reason to end, least of all for a broker.
  process.stderr.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  try {
    await createProgram().parseAsync(process.argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? exitStatus.ok : exitStatus.usage;
      return;
    }
    const { status, lines } = complaintOf(error);
    for (const line of lines) tell(line);
    process.exitCode = status;
  }
}

await main();
