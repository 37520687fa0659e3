// `npm run vm -- node dist/test/kernel/process-window/main.js stock`: EDU itself in the hands of
// client processes, taken back by their end. Only in the test machine.
import { kernelFlavours } from '../../vm/kernel-recipe.js';
import { runCases } from './cases.js';

const flavour = kernelFlavours.find((each) => each === process.argv[2]);
if (flavour === undefined) throw new RangeError(`which kernel: ${kernelFlavours.join(' or ')}?`);
const failures = await runCases(flavour, (line) => process.stdout.write(`${line}\n`));
process.exitCode = failures === 0 ? 0 : 1;
