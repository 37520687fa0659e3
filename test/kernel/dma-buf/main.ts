// `npm run vm -- --kernel patched -- node dist/test/kernel/dma-buf/main.js`: the rules of the
// dma-bufs of a VFIO device by raw calls on QEMU's EDU device. Ends with 0 when none is broken.
import { runDmaBufRules } from './run.js';

const { held, broken, impossible } = await runDmaBufRules((line) =>
  process.stdout.write(`${line}\n`),
);
process.stdout.write(`${held} held, ${broken} broken, ${impossible} impossible on this kernel\n`);
process.exitCode = broken === 0 && held > 0 ? 0 : 1;
