// What is found out of a kernel, and that finding out does no harm.
import { describe, expect, it } from 'vitest';
import { mappableRegions, offersKernelWindows, windowTraits } from './dma-buf-offer.js';
import { probeDmaBufs } from './dma-buf-probe.js';
import { FakeDmaBufs, type FakeKernel } from './testing/fake-dma-bufs.js';

const full: FakeKernel = { maps: true, revoke: 20, memory: 21 };

async function probe(
  kernel: FakeKernel,
  ...[features]: Partial<[Parameters<typeof probeDmaBufs>[2]]>
) {
  const fake = new FakeDmaBufs(kernel);
  const offer = await probeDmaBufs(fake.device, fake.memory, features);
  // The device's own descriptor is all that is left.
  expect(fake.files.openCount).toBe(1);
  return { fake, offer };
}

describe('what the kernel does with dma-bufs', () => {
  it('is all there, under whatever numbers', async () => {
    for (const [revoke, memory] of [
      [14, 15],
      [15, 14],
      [63, 40],
    ] as const) {
      const { offer, fake } = await probe({ ...full, revoke, memory });
      expect(offer).toMatchObject({
        export: { works: true },
        map: { works: true },
        revoke: { works: true, feature: revoke },
        memory: { works: true, feature: memory },
        strangers: { works: false },
      });
      expect(offersKernelWindows(offer)).toBe(true);
      expect([...mappableRegions(fake.device, offer)]).toEqual([0, 2]);
      expect(windowTraits(offer)).toEqual({ direct: true, harmful: true, combining: true });
    }
  });

  it('is an export alone, as mainline has it: nothing unassigned is tried', async () => {
    const { offer, fake } = await probe({ revoke: 14 });
    expect(offer.export.works).toBe(true);
    expect(offer.map).toMatchObject({ works: false, reason: expect.stringContaining('EINVAL') });
    expect(offer.revoke.works).toBe(false);
    expect(fake.sets).toEqual([]);
    expect(mappableRegions(fake.device, offer).size).toBe(0);
    expect(windowTraits(offer)).toEqual({ direct: false, harmful: false, combining: false });
  });

  it('is nothing', async () => {
    const { offer, fake } = await probe({ exports: false });
    expect(offer.export).toMatchObject({ works: false, reason: expect.stringContaining('ENOTTY') });
    expect(fake.buffers).toEqual([]);
    expect(offersKernelWindows(offer)).toBe(false);
  });

  it('is known of no device without a region that can be mapped', async () => {
    const fake = new FakeDmaBufs(full);
    const regions = new Map([[4, fake.device.regions.get(4)!]]);
    const offer = await probeDmaBufs({ ...fake.device, regions }, fake.memory);
    expect(offer.export).toMatchObject({ works: false, reason: expect.stringContaining('region') });
  });

  it('is not what only says yes, or no', async () => {
    const others = { 14: undefined, 15: 'EBADF', 16: 'EBADFD', 17: 'ENOENT', 18: 'EPERM' } as const;
    const { offer, fake } = await probe({ maps: true, others });
    expect(offer.revoke).toMatchObject({
      works: false,
      reason: 'none of the features 14, 15, 16, 17, 18 does revoke dma-bufs as it should',
    });
    expect(offer.memory.works).toBe(false);
    // What took a request without a descriptor was not told of a buffer; EBADF is what was wanted.
    const named = fake.sets.filter(({ descriptor }) => descriptor !== -1);
    expect(new Set(named.map(({ feature }) => feature))).toEqual(new Set([15]));
  });

  it('is found behind what only resembles it', async () => {
    const { offer } = await probe({ ...full, others: { 14: 'EBADF', 19: undefined } });
    expect(offer.revoke).toEqual({ works: true, feature: 20 });
    expect(offer.memory).toEqual({ works: true, feature: 21 });
  });

  it('is not looked for where nobody wants that', async () => {
    const { offer, fake } = await probe(full, 'none');
    expect(offer.map.works).toBe(true);
    expect(offer.revoke).toMatchObject({ works: false, reason: expect.stringContaining('not') });
    expect(fake.sets).toEqual([]);
  });

  it('is looked for under the numbers that it has, and under no other', async () => {
    const right = await probe(full, { revoke: 20 });
    expect(right.offer.revoke).toEqual({ works: true, feature: 20 });
    expect(right.offer.memory.works).toBe(false);
    expect(right.fake.sets.every(({ feature }) => feature === 20)).toBe(true);
    const wrong = await probe(full, { revoke: 21, memory: 20 });
    expect(wrong.offer.revoke.works).toBe(false);
    expect(wrong.offer.memory.works).toBe(false);
    const absent = await probe(full, { revoke: 22 });
    expect(absent.offer.revoke.works).toBe(false);
  });

  it('is safe with strangers where a buffer cannot be opened again', async () => {
    const { offer } = await probe({ ...full, refusesPath: true });
    expect(offer.strangers).toEqual({ works: true });
    expect(windowTraits(offer)).toEqual({ direct: true, harmful: false, combining: true });
  });

  it('is not known of a device that is closed meanwhile', async () => {
    const fake = new FakeDmaBufs(full);
    fake.isClosed = true;
    await expect(probeDmaBufs(fake.device, fake.memory)).rejects.toMatchObject({
      code: 'FUNCTION_GONE',
    });
  });
});
