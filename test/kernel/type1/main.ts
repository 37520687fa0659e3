// `npm run vm -- node dist/test/kernel/type1/main.js`: the container with a real device.
import { runType1, runType1Restricted } from './run.js';

const run = process.argv.includes('--restricted') ? runType1Restricted : runType1;
const failures = await run((line) => process.stdout.write(`${line}\n`));
process.exitCode = failures.length === 0 ? 0 : 1;
