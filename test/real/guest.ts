// In the guest: runs one group of cases and tells of each on a line of JSON.
//   node dist/test/real/guest.js FLAVOUR GROUP [WORD...]
import { kernelFlavours } from '../vm/kernel-recipe.js';
import { groups } from './cases/index.js';
import { isChosen } from './choice.js';

const [flavourWord, groupName, ...words] = process.argv.slice(2);
const flavour = kernelFlavours.find((each) => each === flavourWord);
const group = groups.find(({ name }) => name === groupName);
if (flavour === undefined || group === undefined) throw new RangeError(`no group ${groupName}`);
await group.run(flavour, isChosen(words), (report) => {
  process.stdout.write(`${JSON.stringify(report)}\n`);
});
// What a failed case left open keeps nobody waiting.
process.exit(0);
