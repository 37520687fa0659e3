// Random accesses to the EDU device beside a model that is QEMU's page word for word.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { EduGuest } from '../testing/edu-guest.js';
import type { Value, Width } from '../types.js';
import { eduRegister } from './registers.js';

const { DMA_SOURCE, DMA_DESTINATION, DMA_COUNT, DMA_COMMAND } = eduRegister;

/** The page of QEMU, word for word, on a device whose work is done as soon as it may be. */
class Model {
  liveness = 0;
  factorial = 0n;
  interruptOnFactorial = false;
  interruptStatus = 0;
  readonly dma = new Map([
    [DMA_SOURCE, 0n],
    [DMA_DESTINATION, 0n],
    [DMA_COUNT, 0n],
    [DMA_COMMAND, 0n],
  ]) as Map<number, bigint>;

  read(offset: number, width: Width): Value {
    const ones = (1n << BigInt(8 * width)) - 1n;
    let value = ones;
    const sized = width === 4 || (width === 8 && offset >= 0x80);
    if (sized && offset === 0) value = 0x010000edn;
    if (sized && offset === 4) value = BigInt(this.liveness);
    if (sized && offset === 8) value = this.factorial;
    if (sized && offset === 0x20) value = this.interruptOnFactorial ? 0x80n : 0n;
    if (sized && offset === 0x24) value = BigInt(this.interruptStatus);
    if (sized && this.dma.has(offset)) value = this.dma.get(offset)!;
    return width === 8 ? value : Number(value & ones);
  }

  write(offset: number, value: bigint, width: Width): void {
    if (width !== 4 && (width !== 8 || offset < 0x80)) return;
    const word = Number(value & 0xffffffffn);
    if (offset === 4) this.liveness = ~word >>> 0;
    if (offset === 8) {
      let product = 1n;
      for (let factor = 2n; factor <= BigInt(word) && factor < 5000n; factor++) product *= factor;
      this.factorial = BigInt.asUintN(32, product);
      if (this.interruptOnFactorial) this.interruptStatus |= 1;
    }
    if (offset === 0x20) this.interruptOnFactorial = (word & 0x80) !== 0;
    if (offset === 0x60) this.interruptStatus = (this.interruptStatus | word) >>> 0;
    if (offset === 0x64) this.interruptStatus = (this.interruptStatus & ~word) >>> 0;
    if (offset === 0x98 && (value & 1n) === 0n) return;
    if (this.dma.has(offset)) this.dma.set(offset, value);
    if (offset !== 0x98) return;
    this.dma.set(offset, value & ~1n);
    if ((value & 4n) !== 0n) this.interruptStatus |= 0x100;
  }
}

it('does with random accesses what the page says', () => {
  const widths = fc.constantFrom<Width[]>(4, 4, 4, 8, 8, 1, 2);
  const offsets = fc.oneof(
    fc.constantFrom(...Object.values(eduRegister)),
    fc.integer({ min: 0, max: 0x100 / 4 }).map((word) => word * 4),
  );
  const values = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.bigInt({ min: 0n, max: 40n }),
    fc.constantFrom(0x80n, 0x40000n, 0xffffffffn, 0x100n),
  );
  const access = fc.tuple(fc.boolean(), offsets, widths, values);
  fc.assert(
    fc.property(fc.array(access, { maxLength: 60 }), (accesses) => {
      const guest = new EduGuest({ dmaDelayMs: 0 });
      const model = new Model();
      for (const [isRead, offset, width, raw] of accesses) {
        const value = BigInt.asUintN(8 * width, raw);
        if (isRead) {
          expect(guest.read(offset, width)).toBe(model.read(offset, width));
        } else {
          guest.write(offset, width === 8 ? value : Number(value), width);
          model.write(offset, value, width);
          guest.step();
        }
        expect(guest.bus.intx).toBe(model.interruptStatus !== 0);
      }
    }),
  );
});
