// `npm run vm -- node dist/test/kernel/fault-matrix/main.js`: the fault matrix alone.
import { runFaultMatrix } from './run.js';

const { failures } = await runFaultMatrix((line) => process.stdout.write(`${line}\n`));
process.exitCode = failures.length === 0 ? 0 : 1;
