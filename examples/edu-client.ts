// A client of QEMU's EDU device, real or in software: takes the lease, has a factorial computed,
// hears an interrupt, and has 4 KiB of its memory moved into the device and back.
//
//   lessor serve --driver edu                 (in software)
//   lessor serve --function 0000:00:05.0      (a real one, bound to vfio-pci)
//   node dist/examples/edu-client.js
//
// Ends with status 1 when something is not as it should be. Registers are read and written the same
// way whether they are mapped into this process or reached by message.
import { parseArgs } from 'node:util';
import { acquire, type Lease, type LeaseInterrupt, type LeaseWindow } from 'lessor/client';

const register = {
  FACTORIAL: 0x08,
  STATUS: 0x20,
  INTERRUPT_STATUS: 0x24,
  INTERRUPT_ACKNOWLEDGE: 0x64,
  DMA_SOURCE: 0x80,
  DMA_DESTINATION: 0x88,
  DMA_COUNT: 0x90,
  DMA_COMMAND: 0x98,
};
const factorialInterrupt = { enable: 0x80, bit: 0x001 };
const dmaInterrupt = { enable: 4, bit: 0x100 };
const start = 1;
const toMemory = 2;
/** The buffer on board, as DMA_SOURCE and DMA_DESTINATION know it. */
const buffer = 0x40000;
const bufferBytes = 4096;
const patienceMs = 10_000;

const { values } = parseArgs({
  options: {
    factorial: { type: 'string', default: '12' },
    revocation: { type: 'string' },
    rounds: { type: 'string', default: '1' },
  },
});

/** Waits for one of these bits, and acknowledges it. */
async function interrupted(window: LeaseWindow, interrupt: LeaseInterrupt, bit: number) {
  const untilMs = performance.now() + patienceMs;
  for (;;) {
    await interrupt.wait(untilMs - performance.now());
    if (performance.now() >= untilMs) throw new Error(`no interrupt within ${patienceMs} ms`);
    // It may have woken for nothing: the device says whether it was meant.
    if (((await window.read32(register.INTERRUPT_STATUS)) & bit) === 0) continue;
    await window.write32(register.INTERRUPT_ACKNOWLEDGE, bit);
    return;
  }
}

async function factorial(window: LeaseWindow, interrupt: LeaseInterrupt, of: number) {
  await window.write32(register.STATUS, factorialInterrupt.enable);
  await window.write32(register.FACTORIAL, of);
  await interrupted(window, interrupt, factorialInterrupt.bit);
  const result = await window.read32(register.FACTORIAL);
  let expected = 1;
  for (let factor = 2; factor <= of && expected !== 0; factor += 1) {
    expected = Math.imul(expected, factor) >>> 0;
  }
  if (result !== expected) throw new Error(`${of}! is ${expected} modulo 2^32, not ${result}`);
  return result;
}

/** Four bytes into a register of eight clear the rest: addresses have 28 bits. */
async function move(
  window: LeaseWindow,
  interrupt: LeaseInterrupt,
  from: number,
  to: number,
  direction: number,
) {
  await window.write32(register.DMA_SOURCE, from);
  await window.write32(register.DMA_DESTINATION, to);
  await window.write32(register.DMA_COUNT, bufferBytes);
  await window.write32(register.DMA_COMMAND, start | direction | dmaInterrupt.enable);
  await interrupted(window, interrupt, dmaInterrupt.bit);
}

async function thereAndBack(lease: Lease, window: LeaseWindow, interrupt: LeaseInterrupt) {
  const memory = await lease.memory.allocate(2 * bufferBytes);
  const [sent, received] = [
    memory.u8.subarray(0, bufferBytes),
    memory.u8.subarray(bufferBytes, 2 * bufferBytes),
  ];
  crypto.getRandomValues(sent);
  const startMs = performance.now();
  await move(window, interrupt, memory.iova, buffer, 0);
  await move(window, interrupt, buffer, memory.iova + bufferBytes, toMemory);
  const tookMs = performance.now() - startMs;
  const at = received.findIndex((byte, index) => byte !== sent[index]);
  if (at >= 0) throw new Error(`byte ${at} came back as ${received[at]}, was ${sent[at]}`);
  await memory[Symbol.asyncDispose]();
  return tookMs;
}

try {
  const { revocation } = values;
  const request = { kind: 'edu', memoryBytes: 2 * bufferBytes, waitMs: patienceMs };
  const lease = await acquire(revocation ? { ...request, revocation } : request);
  try {
    const window = lease.window('registers');
    const interrupt = lease.interrupt(0);
    const { isolation, revocation } = lease.record;
    console.log(`isolation ${isolation}, revocation ${revocation}, registers ${window.kind}`);
    for (let round = 0; round < Number(values.rounds); round += 1) {
      const of = Number(values.factorial);
      console.log(`${of}! = ${await factorial(window, interrupt, of)}, told by interrupt`);
      const tookMs = await thereAndBack(lease, window, interrupt);
      console.log(`${bufferBytes} bytes to the device and back in ${tookMs.toFixed()} ms: same`);
    }
  } finally {
    await lease.close();
  }
} catch (error) {
  console.error(`edu-client: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
