// `npm run vm -- --kernel patched -- node dist/test/kernel/dma-buf/main.js`: the rules of the
// dma-bufs of a VFIO device by raw calls. Words are what must not be missing here (map, revoke,
// memattr, other, reset). Ends with 0 when no rule is broken and nothing of that is missing.
import { runDmaBufRules } from './run.js';

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

const { held, broken, impossible, lacks } = await runDmaBufRules(say);
say(`${held} held, ${broken} broken, ${impossible} impossible here`);
const missing = [...lacks].filter(([need]) => process.argv.includes(need));
for (const [need, reason] of missing) say(`${need} is missing: ${reason}`);
process.exitCode = broken === 0 && held > 0 && missing.length === 0 ? 0 : 1;
