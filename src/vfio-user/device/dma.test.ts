// What a served device reaches of its client's memory: maps, rights, unmaps, memory that vanishes.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../base/limits.js';
import { silentLogger } from '../../base/log.js';
import { faultReasons } from '../../iommu/types.js';
import { openCount } from '../../os/testing/open-descriptors.js';
import {
  type ClientBuffer,
  command,
  createBuffer,
  errnoOf,
  type Lab,
  labOs,
  startLab,
} from '../testing/lab.js';
import { labRegister } from '../testing/lab-device.js';

const page = 4096;
const base = 0x4000_0000;

let lab: Lab;
let before: number;

beforeEach(async () => {
  before = openCount();
  lab = await startLab();
  await lab.setCommand(command.MASTER);
});

afterEach(async () => {
  await lab[Symbol.asyncDispose]();
});

/** `done`, or why the DMA was refused. */
async function dma(kind: Parameters<Lab['dma']>[0], iova: number, length: number): Promise<string> {
  const result = await lab.dma(kind, iova, length);
  return result === 0 ? 'done' : faultReasons[result - 1]!;
}

const request = (buffer: ClientBuffer, iova: bigint, lengthBytes: bigint, more = {}) => ({
  iova,
  lengthBytes,
  offsetBytes: 0n,
  readable: true,
  writable: true,
  fd: buffer.fd.duplicate(),
  ...more,
});

const unmap = (iova: bigint | number, lengthBytes: bigint | number) =>
  lab.client.dmaUnmap({ iova: BigInt(iova), lengthBytes: BigInt(lengthBytes) });

describe('DMA', () => {
  it('needs bus mastering', async () => {
    await lab.map(base, page);
    await lab.setCommand(0);
    expect(await dma('read', base, 8)).toBe('not attached');
    expect(await dma('translateRead', base, 0)).toBe('not attached');
    await lab.setCommand(command.MASTER);
    expect(await dma('read', base, 8)).toBe('done');
    expect(await dma('translateRead', base, 0)).toBe('done');
  });

  it('needs the right that the map gives', async () => {
    await lab.map(base, page, { writable: false });
    await lab.map(base + page, page, { readable: false });
    await lab.map(base + 2 * page, page, { readable: false, writable: false });
    const outcomes = [];
    for (const kind of ['read', 'write'] as const) {
      for (let index = 0; index < 4; index++)
        outcomes.push(await dma(kind, base + index * page, 4));
    }
    expect(outcomes).toEqual([
      'done',
      'no permission',
      'not mapped',
      'not mapped',
      'no permission',
      'done',
      'not mapped',
      'not mapped',
    ]);
  });

  it('checks all of a range before a byte moves', async () => {
    const { u8 } = await lab.map(base, 2 * page);
    await lab.client.write32(0, labRegister.DMA_BYTE, 7);
    expect(await dma('write', base + page, 2 * page)).toBe('not mapped');
    expect(u8.every((byte) => byte === 0)).toBe(true);
    expect(await dma('write', base + page - 8, 16)).toBe('done');
    expect(u8.filter((byte) => byte === 7)).toHaveLength(16);
  });

  it('reaches over neighbouring maps of different files', async () => {
    const one = await lab.map(base, page);
    const other = await lab.map(base + page, page);
    await lab.client.write32(0, labRegister.DMA_BYTE, 5);
    expect(await dma('write', base + page - 3, 6)).toBe('done');
    expect([...one.u8.subarray(page - 4)]).toEqual([0, 5, 5, 5]);
    expect([...other.u8.subarray(0, 4)]).toEqual([5, 5, 5, 0]);
  });

  it('takes the offset in the file', async () => {
    const buffer = createBuffer(4 * page);
    buffer.u8[3 * page] = 9;
    await lab.client.dmaMap(
      request(buffer, BigInt(base), BigInt(page), { offsetBytes: BigInt(3 * page) }),
    );
    expect(await dma('read', base, 8)).toBe('done');
    expect(await lab.client.read32(0, labRegister.DMA_BYTE)).toBe(9);
  });

  it('ends with an unmap, and keeps no descriptor', async () => {
    const { fd } = await lab.map(base, page);
    fd.close();
    expect(openCount()).toBeLessThanOrEqual(before + 16);
    const held = openCount();
    await lab.map(base + page, page).then((buffer) => buffer.fd.close());
    expect(openCount()).toBe(held);
    await unmap(base, page);
    expect(await dma('read', base, 4)).toBe('not mapped');
    expect(await dma('read', base + page, 4)).toBe('done');
  });
});

describe('maps', () => {
  it('are the same once more, and nothing else in their place', async () => {
    const buffer = createBuffer(4 * page);
    const other = createBuffer(4 * page);
    const first = BigInt(base);
    const two = BigInt(2 * page);
    const map = (from: ClientBuffer, iova: bigint, length: bigint, more = {}) =>
      errnoOf(lab.client.dmaMap(request(from, iova, length, more)));
    expect(await map(buffer, first, two)).toBeUndefined();
    expect(await map(buffer, first, two)).toBeUndefined();
    expect(await map(other, first, two)).toBe('EEXIST');
    expect(await map(buffer, first, two, { offsetBytes: two })).toBe('EEXIST');
    expect(await map(buffer, first, two, { writable: false })).toBe('EEXIST');
    expect(await map(buffer, first, two, { fd: undefined })).toBe('EEXIST');
    expect(await map(buffer, first, BigInt(page))).toBe('EEXIST');
    expect(await map(buffer, first + BigInt(page), two)).toBe('EEXIST');
    expect(await map(buffer, first + two, two)).toBeUndefined();
  });

  it('are page by page, below 2^48, of memory that is there', async () => {
    const buffer = createBuffer(2 * page);
    const map = (iova: bigint, length: bigint, more = {}) =>
      errnoOf(lab.client.dmaMap(request(buffer, iova, length, more)));
    const onePage = BigInt(page);
    expect(await map(1n, onePage)).toBe('EINVAL');
    expect(await map(0n, onePage + 1n)).toBe('EINVAL');
    expect(await map(0n, onePage, { offsetBytes: 12n })).toBe('EINVAL');
    expect(await map(0n, 3n * onePage)).toBe('EINVAL');
    expect(await map(2n ** 48n - onePage, 2n * onePage)).toBe('ERANGE');
    expect(await map(2n ** 64n - onePage, onePage)).toBe('ERANGE');
    expect(await map(2n ** 48n - onePage, onePage)).toBeUndefined();
    const readOnly = labOs.memory.create('lessor-test-read-only', page);
    labOs.memory.setMode(readOnly, 0o600);
    const fd = labOs.memory.reopenReadOnly(readOnly);
    expect(await map(0n, onePage, { fd: fd.duplicate() })).toBe('EACCES');
    expect(await map(0n, onePage, { fd, writable: false })).toBeUndefined();
    readOnly.close();
  });

  it('are removed by any range that cuts none', async () => {
    for (const index of [0, 1, 2, 5]) await lab.map(base + index * page, page);
    await lab.map(base + 8 * page, 4 * page);
    expect(await errnoOf(unmap(base, 9 * page))).toBe('ENOENT');
    expect(await errnoOf(unmap(base + 10 * page, page))).toBe('ENOENT');
    expect(await errnoOf(unmap(base + 11 * page, 2n ** 40n))).toBe('ENOENT');
    expect(await dma('read', base, 3 * page)).toBe('done');
    await unmap(base + page, 2 * page);
    expect(await dma('read', base + page, 4)).toBe('not mapped');
    expect(await dma('read', base + 5 * page, 4)).toBe('done');
    // What QEMU sends: huge ranges over many maps, or none.
    await unmap(0, 0xffff_ffff_0110_0000n);
    expect(await dma('read', base + 8 * page, 4)).toBe('not mapped');
    await unmap(0, 0xffff_ffff_0110_0000n);
    await unmap(2n ** 63n, 2n ** 63n);
    await lab.map(base, page);
    await lab.client.dmaUnmap('all');
    expect(await dma('read', base, 4)).toBe('not mapped');
  });

  it('are as many as the limit, and not one more', { timeout: 120_000 }, async () => {
    const buffer = createBuffer(page);
    const count = limits.mapsPerLeaseMax;
    const map = (index: number) =>
      lab.client.dmaMap(request(buffer, BigInt(index * page), BigInt(page)));
    for (let from = 0; from < count; from += 100) {
      const length = Math.min(100, count - from);
      await Promise.all(Array.from({ length }, (_, index) => map(from + index)));
    }
    expect(await errnoOf(map(count))).toBe('ENOSPC');
    expect(await dma('read', (count - 1) * page, 4)).toBe('done');
    await unmap((count - 1) * page, page);
    expect(await errnoOf(map(count))).toBeUndefined();
    await lab.client.dmaUnmap('all');
    expect(await dma('read', 0, 4)).toBe('not mapped');
  });
});

describe('memory that is truncated', () => {
  it('faults that DMA and nothing else', async () => {
    const buffer = createBuffer(4 * page);
    await lab.client.dmaMap(request(buffer, BigInt(base), BigInt(4 * page)));
    const other = await lab.map(base + 16 * page, page);
    other.u8.fill(2);
    labOs.memory.truncate(buffer.fd, 0);
    expect(await dma('read', base + page, 64)).toBe('memory gone');
    // Only its owner can say what is left of it, and this one has nothing to say.
    expect(await dma('read', base + page, 64)).toBe('not reachable');
    expect(await dma('translateWrite', base, 0)).toBe('not reachable');
    expect(await dma('read', base + 16 * page, 64)).toBe('done');
    expect(await lab.client.read32(0, labRegister.DMA_BYTE)).toBe(128);
    await unmap(base, 4 * page);
    await lab.map(base, page);
    expect(await dma('write', base, 64)).toBe('done');
  });
});

describe('memory without a descriptor', () => {
  it('is reached by message', async () => {
    const bytes = new Uint8Array(4 * page).fill(1);
    await lab.table.map(lab.client, { iova: BigInt(base), bytes });
    expect(await dma('read', base + 100, 2 * page)).toBe('done');
    expect(await lab.client.read32(0, labRegister.DMA_BYTE)).toBe(2 * page);
    await lab.client.write32(0, labRegister.DMA_BYTE, 8);
    expect(await dma('write', base + page - 1, 3)).toBe('done');
    expect([...bytes.subarray(page - 2, page + 3)]).toEqual([1, 8, 8, 8, 1]);
    expect(await dma('translateRead', base, 0)).toBe('not reachable');
  });

  it('may lie beside memory that was placed', async () => {
    const placed = await lab.map(base, page);
    const bytes = new Uint8Array(page);
    await lab.table.map(lab.client, { iova: BigInt(base + page), bytes });
    const after = await lab.map(base + 2 * page, page);
    await lab.client.write32(0, labRegister.DMA_BYTE, 6);
    expect(await dma('write', base + 8, 3 * page - 16)).toBe('done');
    const written = [placed.u8, bytes, after.u8].map(
      (u8) => u8.filter((byte) => byte === 6).length,
    );
    expect(written).toEqual([page - 8, page, page - 8]);
  });

  it('keeps its rights and its owner has the last word', async () => {
    const bytes = new Uint8Array(page);
    await lab.table.map(lab.client, { iova: BigInt(base), bytes, writable: false });
    expect(await dma('write', base, 8)).toBe('no permission');
    lab.table.remove(BigInt(base));
    expect(await dma('read', base, 8)).toBe('not reachable');
    await unmap(base, page);
    expect(await dma('read', base, 8)).toBe('not mapped');
  });

  it('goes while a message is under way when it is unmapped', async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const bytes = new Uint8Array(page);
    await lab.table.map(lab.client, { iova: BigInt(base), bytes });
    const read = lab.table.read.bind(lab.table);
    lab.table.read = ((iova: bigint, length: number) =>
      gate.then(() => read(iova, length))) as never;
    const running = dma('read', base, 8);
    await new Promise((resolve) => setImmediate(resolve));
    const unmapped = lab.client.dmaUnmap({ iova: BigInt(base), lengthBytes: BigInt(page) });
    expect(['not mapped', 'not reachable']).toContain(await running);
    await unmapped;
    release();
  });

  it('is all there is in message mode', async () => {
    await using slow = await startLab({ dma: 'message' });
    expect(slow.device.bus!.direct).toBeUndefined();
    await slow.setCommand(command.MASTER);
    const buffer = createBuffer(page);
    const bytes = buffer.u8.fill(4);
    slow.table.add({ iova: BigInt(base), bytes });
    await slow.client.dmaMap(request(buffer, BigInt(base), BigInt(page)));
    expect(await slow.dma('read', base, 10)).toBe(0);
    expect(await slow.client.read32(0, labRegister.DMA_BYTE)).toBe(40);
  });
});

describe('the log of the server', () => {
  it('tells what was refused, and nothing else', async () => {
    const lines: unknown[] = [];
    const log = { ...silentLogger, info: (...line: unknown[]) => void lines.push(line) };
    await using told = await startLab({ log, name: 'told' });
    await told.setCommand(command.MASTER);
    await told.map(base, page, { writable: false });
    await told.dma('read', base, 8);
    await told.dma('write', base + 16, 8);
    await told.dma('translateRead', base + page, 0);
    const line = (iova: string, access: string, reason: string) => [
      'DMA refused',
      { device: 'told', iova, access, reason, untold: undefined },
    ];
    expect(lines).toEqual([
      line('0x40000010', 'write', 'no permission'),
      line('0x40001000', 'read', 'not mapped'),
    ]);
  });
});

describe('memory that does not fit', () => {
  it('is reached by message', async () => {
    await using small = await startLab({ arenaBytes: 2 * 1024 * 1024 });
    await small.setCommand(command.MASTER);
    const fits = await small.map(base, page);
    fits.u8.fill(1);
    const lengthBytes = 2 * 1024 * 1024;
    const large = await small.map(base + lengthBytes, lengthBytes);
    large.u8.fill(2);
    expect(await small.dma('translateRead', base, 0)).toBe(0);
    expect(await small.dma('translateRead', base + lengthBytes, 0)).not.toBe(0);
    small.table.add({ iova: BigInt(base + lengthBytes), bytes: large.u8 });
    expect(await small.dma('read', base + lengthBytes, 8)).toBe(0);
    expect(await small.client.read32(0, labRegister.DMA_BYTE)).toBe(16);
  });
});
