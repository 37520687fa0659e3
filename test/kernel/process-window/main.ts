// `npm run vm -- node dist/test/kernel/process-window/main.js`: EDU itself in the hands of client
// processes, taken back by their end. Only in the test machine.
import { runCases } from './cases.js';

const failures = await runCases((line) => process.stdout.write(`${line}\n`));
process.exitCode = failures === 0 ? 0 : 1;
