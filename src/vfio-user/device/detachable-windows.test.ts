// Memory of a client in place of frames: joined by command, gone with its unmap.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../base/limits.js';
import { faultReasons } from '../../iommu/types.js';
import {
  windowCommand,
  windowCommandRecord,
  windowFrame,
  windowRegionHeader,
  windowRegionType,
} from '../../uapi/window-region.js';
import {
  type ClientBuffer,
  command,
  createBuffer,
  errnoOf,
  type Lab,
  labOs,
  startLab,
} from '../testing/lab.js';
import { labPage, labStatusWord } from '../testing/lab-device.js';

const page = 4096;
const frames = 2;
const commands = 9;
const at = 0x7000_0000;
const ones = 0xffff_ffff;

let lab: Lab;

beforeEach(async () => {
  lab = await startLab({ detachableWindows: true });
});

afterEach(async () => {
  await lab[Symbol.asyncDispose]();
});

/** Memory of a window, mapped so that no DMA reaches it. */
const give = (iova = at, lengthBytes = page): Promise<ClientBuffer> =>
  lab.map(iova, lengthBytes, { readable: false, writable: false });

const take = (iova = at, lengthBytes = page): Promise<void> =>
  lab.client.dmaUnmap({ iova: BigInt(iova), lengthBytes: BigInt(lengthBytes) });

const send = (record: Partial<Parameters<typeof windowCommandRecord.encode>[0]>): Promise<void> => {
  const join = { command: windowCommand.join, region: frames, offset: 0, length: page, iova: at };
  const bytes = windowCommandRecord.encode({ ...join, ...record });
  return lab.client.regionWrite(commands, 0, bytes);
};

const wordsOf = ({ u8 }: ClientBuffer): Uint32Array =>
  new Uint32Array(u8.buffer, u8.byteOffset, u8.length / 4);

const wake = (): Promise<void> => send({ command: windowCommand.wake });
const countNow = (): Promise<number> =>
  lab.client.read32(frames, labPage.status + 4 * labStatusWord.COUNT);

describe('a window of a served device', () => {
  it('is offered by a region of its own, with the frames that there are', async () => {
    const { client } = lab;
    expect(await client.deviceInfo()).toMatchObject({ regionCount: 10 });
    const info = await client.regionInfo(commands);
    expect(info).toMatchObject({ flags: 11, type: windowRegionType, fd: undefined });
    const bytes = await client.regionRead(commands, 0, info.lengthBytes);
    expect(windowRegionHeader.decodeAt(bytes, 0)).toMatchObject({ version: 1, frameCount: 2 });
    expect([16, 40].map((offset) => windowFrame.decodeAt(bytes, offset))).toEqual([
      { region: 2, flags: 1, offset: labPage.target, length: page },
      { region: 2, flags: 0, offset: labPage.status, length: page },
    ]);
  });

  it('is not offered by a server that was not told to', async () => {
    await using other = await startLab();
    expect(await other.client.deviceInfo()).toMatchObject({ regionCount: 9 });
    const closed = await errnoOf(other.client.regionRead(commands, 0, 16));
    expect(closed).toBe('EINVAL');
  });

  it('is what the device and messages see from join to unmap, and no longer', async () => {
    await lab.client.write32(frames, 64, 5);
    const window = wordsOf(await give());
    window[0] = 3;
    window[16] = 3;
    await send({});
    // All zeros, whatever was stored before; and no work for the device yet.
    expect([window[0], window[16]]).toEqual([0, 0]);
    Atomics.store(window, 0, 40);
    await wake();
    while ((await countNow()) !== 40);
    await lab.client.write32(frames, 64, 6);
    expect(window[16]).toBe(6);
    await take();
    expect(await lab.client.read32(frames, 64)).toBe(0);
    Atomics.store(window, 0, 60);
    await wake();
    await lab.client.write32(frames, 64, 7);
    expect(await countNow()).toBeLessThanOrEqual(40);
    expect(window[16]).toBe(6);
  });

  it('shows several frames at their places in one memory', async () => {
    const window = wordsOf(await give(at, 2 * page));
    await send({ offset: labPage.status, iova: at });
    await send({ offset: labPage.target, iova: at + page });
    Atomics.store(window, page / 4, 9);
    await wake();
    while ((await countNow()) !== 9);
    expect(window[labStatusWord.COUNT]).toBe(9);
    await take(0, 2 ** 47);
    expect(await countNow()).toBe(0);
  });

  it('is out of reach for DMA of the device', async () => {
    await lab.setCommand(command.MASTER);
    const window = wordsOf(await give());
    await send({});
    for (const kind of ['read', 'write', 'translateWrite'] as const) {
      expect(faultReasons[(await lab.dma(kind, at, 4)) - 1]).toBe('not mapped');
    }
    expect(window[0]).toBe(0);
  });

  it('that its owner truncated reads ones, and leaves the device alive', async () => {
    const buffer = await give();
    await send({});
    labOs.memory.truncate(buffer.fd, 0);
    expect(await lab.client.read32(frames, 0)).toBe(ones);
    await take();
    const next = await give();
    labOs.memory.truncate(next.fd, 0);
    expect(await errnoOf(send({}))).toBe('EPERM');
    await take();
    await give();
    await send({});
    expect(await lab.client.read32(frames, 0)).toBe(0);
  });

  it('goes with its client, and the next one may have its own', async () => {
    const window = wordsOf(await give());
    await send({});
    await lab.client.write32(frames, 64, 5);
    lab.client.close();
    const client = await lab.connect();
    expect(await client.read32(frames, 64)).toBe(0);
    await client.write32(frames, 64, 6);
    expect(window[16]).toBe(5);
    const bytes = { readable: false, writable: false, offsetBytes: 0n, lengthBytes: BigInt(page) };
    const fd = createBuffer(page).fd.duplicate();
    await client.dmaMap({ iova: BigInt(at), ...bytes, fd });
  });
});

describe('a command', () => {
  it.each([
    ['of no kind', { command: 3 }],
    ['for a region without frames', { region: 0 }],
    ['for a region that is not there', { region: 77 }],
    ['for half a frame', { length: page / 2 }],
    ['for a part of a frame', { offset: page / 2, length: page }],
    ['between frames', { offset: page }],
    ['over a gap', { length: 3 * page, iova: at }],
    ['of no bytes', { length: 0 }],
    ['for memory that is not there', { iova: at + 4 * page }],
    ['for memory that ends too early', { iova: at + page / 2 }],
    ['for memory off the page', { iova: at + 8 }],
  ])('%s is refused', async (_what, record) => {
    await give(at, 2 * page);
    const answer = await errnoOf(send(record));
    expect(answer).toBe('EINVAL');
    await send({});
  });

  it('for a frame that has memory is refused until that is gone', async () => {
    await give();
    await give(at + 16 * page);
    await send({});
    expect(await errnoOf(send({ iova: at + 16 * page }))).toBe('EINVAL');
    await take();
    await send({ iova: at + 16 * page });
  });

  it('is one record at the start', async () => {
    const bytes = new Uint8Array(windowCommandRecord.sizeBytes);
    bytes[0] = windowCommand.wake;
    await lab.client.regionWrite(commands, 0, bytes);
    const { client } = lab;
    expect(await errnoOf(client.regionWrite(commands, 8, bytes))).toBe('EINVAL');
    expect(await errnoOf(client.regionWrite(commands, 0, bytes.subarray(8)))).toMatch(/EINVAL/);
    expect(await errnoOf(client.regionWrite(commands, 0, bytes.fill(255, 8)))).toBe('EINVAL');
  });

  it('finds no memory that permits DMA, or came without a descriptor', async () => {
    await lab.map(at, page);
    expect(await errnoOf(send({}))).toBe('EINVAL');
    const far = at + 16 * page;
    await lab.client.dmaMap({
      iova: BigInt(far),
      lengthBytes: BigInt(page),
      offsetBytes: 0n,
      readable: false,
      writable: false,
    });
    expect(await errnoOf(send({ iova: far }))).toBe('EINVAL');
  });
});

describe('the memory of windows', () => {
  it('is no more than that of the frames', async () => {
    await give();
    await give(at + 16 * page);
    expect(await errnoOf(give(at + 32 * page))).toBe('ENOSPC');
    await take();
    await give(at + 32 * page);
  });

  it('that is longer than a window may be is no more than a map', async () => {
    await lab.map(at, limits.windowBytesMax + page, { readable: false, writable: false });
    expect(await errnoOf(send({}))).toBe('EINVAL');
    await take(at, limits.windowBytesMax + page);
  });

  it('is let go when the map is refused', async () => {
    await lab.map(at + page, page);
    expect(await errnoOf(give(at, 2 * page))).toBe('EEXIST');
    await take(at + page);
    await give(at, 2 * page);
    await send({});
  });
});
