// Windows on registers of a device in the kernel: which are mapped, and when they are over.
import { describe, expect, it, vi } from 'vitest';
import type { DeviceAccess } from '../message-window.js';
import type { BackingSpec, FunctionInfo, Window } from '../types.js';
import { noDmaBufs } from './dma-buf-offer.js';
import { probeDmaBufs } from './dma-buf-probe.js';
import { FakeDmaBufs, type FakeKernel, fakePageBytes } from './testing/fake-dma-bufs.js';
import { VfioWindows } from './windows.js';

const page = fakePageBytes;
const ones = 0xffff_ffff;
const O_RDWR_CLOEXEC = 0o2000002;
const O_RDONLY_CLOEXEC = 0o2000000;

const info: FunctionInfo = {
  name: 'fake',
  underside: 'vfio',
  vendorId: 0x1234,
  deviceId: 0x11e8,
  subsystemVendorId: 0,
  subsystemId: 0,
  classCode: 0xff0000,
  revisionId: 1,
  regions: [
    { index: 0, lengthBytes: 0x4000, mappable: true },
    { index: 2, lengthBytes: 0x8000, mappable: true },
    { index: 4, lengthBytes: 0x800, mappable: false },
  ],
  vectorCount: 1,
  reserved: [{ region: 0, offsetBytes: 0x3000, lengthBytes: 16 }],
  pasidBits: 0,
  iovaPageBytes: page,
  aperture: { start: 0, end: 2 ** 32 },
  epoch: 1,
};

function spec(region: number, ...ranges: [number, number][]): BackingSpec {
  const parts = ranges.map(([offsetBytes, lengthBytes]) => ({ offsetBytes, lengthBytes }));
  return { region, ranges: parts, access: 'read-write' };
}

async function world(kernel: FakeKernel = { maps: true, revoke: 20, memory: 21 }) {
  const fake = new FakeDmaBufs(kernel);
  const registers = new Map<string, number | bigint>();
  const access: DeviceAccess = {
    read: vi.fn(async (region, at) => registers.get(`${region}:${at}`) ?? 0),
    write: vi.fn(async (region, at, _width, value) => {
      registers.set(`${region}:${at}`, value);
    }),
  };
  const offer = await probeDmaBufs(fake.device, fake.memory);
  fake.buffers.length = 0;
  fake.sets.length = 0;
  const parts = { device: fake.device, offer, access, pageBytes: page, importable: true };
  return { fake, access, registers, parts, windows: new VfioWindows(parts) };
}

const buffersOpen = (fake: FakeDmaBufs): number => fake.files.openCount - 1;

describe('a window on registers', () => {
  it('is a dma-buf of its ranges, in their order', async () => {
    const { fake, windows } = await world();
    const window = await windows.open(spec(2, [0x5000, page], [0, 2 * page]), info);
    expect(window).toMatchObject({ revocation: 'kernel', lengthBytes: 3 * page, memory: 'device' });
    expect(window.fd?.isOpen).toBe(true);
    expect(fake.buffers).toMatchObject([
      {
        region: 2,
        openFlags: O_RDWR_CLOEXEC,
        ranges: [
          { offset: 0x5000n, length: 0x1000n },
          { offset: 0n, length: 0x2000n },
        ],
      },
    ]);
    await windows.open({ ...spec(0, [0, page]), access: 'read' }, info);
    expect(fake.buffers[1]).toMatchObject({ openFlags: O_RDONLY_CLOEXEC });
    await windows.disposeAll();
    expect(buffersOpen(fake)).toBe(0);
  });

  it.each([
    ['off the page', spec(0, [0x800, page])],
    ['of part of a page', spec(0, [0, page / 2])],
    ['outside what the device lets programs map', spec(2, [0x3000, page])],
    ['across its edge', spec(2, [0x2000, 2 * page])],
    ['of a region that nobody may map', spec(4, [0, 8])],
    ['in part', spec(2, [0, page], [0x3000, page])],
  ])('is reached by message %s', async (_what, which) => {
    const { fake, windows, registers } = await world();
    const window = await windows.open(which, info);
    expect(window).toMatchObject({ revocation: 'mediated', fd: undefined });
    expect(fake.buffers).toEqual([]);
    await window.connect();
    await window.registers.write32(0, 9);
    expect(registers.get(`${which.region}:${which.ranges[0]?.offsetBytes}`)).toBe(9);
  });

  it.each([
    ['exports none', { exports: false }],
    ['maps none', { revoke: 20 }],
    ['takes none back', { maps: true }],
  ] as [string, FakeKernel][])('is reached by message where the kernel %s', async (_w, kernel) => {
    const { windows } = await world(kernel);
    const window = await windows.open(spec(0, [0, page]), info);
    expect(window).toMatchObject({ revocation: 'mediated', fd: undefined });
  });

  it('shares no byte with another one or with what is reserved', async () => {
    const { windows, fake } = await world();
    const refused = { code: 'INVALID_ARGUMENT' };
    const [one, other] = [spec(0, [0, page]), spec(0, [0x1000, page], [0, page])];
    const coming = windows.open(one, info);
    await expect(windows.open(other, info)).rejects.toMatchObject(refused);
    const window = await coming;
    await expect(windows.open(other, info)).rejects.toMatchObject(refused);
    await expect(windows.open(spec(0, [8, 8]), info)).rejects.toMatchObject(refused);
    await expect(windows.open(spec(0, [0x3000, page]), info)).rejects.toMatchObject(refused);
    await expect(windows.open(spec(1, [0, page]), info)).rejects.toMatchObject(refused);
    await window[Symbol.asyncDispose]();
    await (await windows.open(other, info))[Symbol.asyncDispose]();
    expect(buffersOpen(fake)).toBe(0);
  });

  it('is reached by message from connect to detach', async () => {
    const { windows, registers } = await world();
    const window = await windows.open(spec(2, [0x4000, page]), info);
    await window.registers.write32(4, 1);
    expect(await window.registers.read32(4)).toBe(ones);
    await window.connect();
    await window.connect();
    await window.registers.write32(4, 7);
    expect(registers).toEqual(new Map([['2:16388', 7]]));
    expect(await window.registers.read32(4)).toBe(7);
    await window.detach();
    await window.registers.write32(4, 8);
    expect(await window.registers.read32(4)).toBe(ones);
    expect(registers.get('2:16388')).toBe(7);
    await expect(window.connect()).rejects.toMatchObject({ code: 'WINDOW_REVOKED' });
  });

  it('takes no message where it is read-only', async () => {
    const { windows } = await world();
    const window = await windows.open({ ...spec(0, [0, page]), access: 'read' }, info);
    await window.connect();
    await expect(window.registers.write8(0, 1)).rejects.toMatchObject({ code: 'WINDOW_READ_ONLY' });
  });
});

describe('the end of a window on registers', () => {
  it('is the answer of the kernel, once, connected or not', async () => {
    for (const isConnected of [true, false]) {
      const { windows, fake } = await world();
      const window = await windows.open(spec(0, [0, page]), info);
      if (isConnected) await window.connect();
      let answer = (): void => {};
      fake.gate = new Promise((resolve) => {
        answer = resolve;
      });
      let isCut = false;
      const cut = window.detach().then(() => {
        isCut = true;
      });
      await Promise.all([Promise.resolve(), Promise.resolve()]);
      expect(isCut).toBe(false);
      expect(fake.buffers[0]?.isRevoked).toBe(false);
      answer();
      await cut;
      expect(fake.buffers[0]?.isRevoked).toBe(true);
      await window.detach();
      expect(await window.zap(0)).toBe('gone');
      await window[Symbol.asyncDispose]();
      await window[Symbol.asyncDispose]();
      expect(fake.sets).toHaveLength(1);
      expect(buffersOpen(fake)).toBe(0);
    }
  });

  it('waits for messages that are under way', async () => {
    const { windows, parts } = await world();
    let answer = (): void => {};
    vi.mocked(parts.access.read).mockReturnValueOnce(
      new Promise((resolve) => {
        answer = () => resolve(3);
      }),
    );
    const window = await windows.open(spec(0, [0, page]), info);
    await window.connect();
    const reading = window.registers.read32(0);
    let isCut = false;
    const cut = window.detach().then(() => {
      isCut = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isCut).toBe(false);
    answer();
    await cut;
    expect(await reading).toBe(3);
  });

  it.each(['EBADFD', 'ENODEV'] as const)('has come where the kernel says %s', async (errno) => {
    const { windows, fake } = await world();
    const window = await windows.open(spec(0, [0, page]), info);
    fake.revokeErrno = errno;
    await window.detach();
    await window[Symbol.asyncDispose]();
    expect(buffersOpen(fake)).toBe(0);
  });

  it('has come where the device was closed', async () => {
    const { windows, fake } = await world();
    const window = await windows.open(spec(0, [0, page]), info);
    fake.isClosed = true;
    await window.detach();
    await windows.disposeAll();
    expect(buffersOpen(fake)).toBe(0);
  });

  it('has not come where the kernel refuses: the range stays taken until it does', async () => {
    const { windows, fake } = await world();
    const window = await windows.open(spec(0, [0, page]), info);
    await window.connect();
    fake.revokeErrno = 'ENOMEM';
    const refused = { errno: 'ENOMEM' };
    await expect(window.detach()).rejects.toMatchObject(refused);
    expect(await window.registers.read32(0)).toBe(ones);
    await expect(window.zap(10)).rejects.toMatchObject(refused);
    await expect(window[Symbol.asyncDispose]()).rejects.toMatchObject(refused);
    await expect(windows.open(spec(0, [0, page]), info)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    expect(window.fd?.isOpen).toBe(true);
    fake.revokeErrno = undefined;
    await window.detach();
    await window[Symbol.asyncDispose]();
    expect(buffersOpen(fake)).toBe(0);
    await windows.open(spec(0, [0, page]), info);
    await windows.disposeAll();
  });

  it('comes for all of them, and for those that are being made', async () => {
    const { windows, fake } = await world();
    const [one, other] = [
      await windows.open(spec(0, [0, page]), info),
      await windows.open(spec(4, [0, 8]), info),
    ];
    await one.connect();
    await other.connect();
    await windows.cut();
    expect(fake.buffers[0]?.isRevoked).toBe(true);
    expect(await other.registers.read32(0)).toBe(ones);
    const late = windows.open(spec(2, [0, page]), info);
    const gone = expect(late).rejects.toMatchObject({ code: 'FUNCTION_GONE' });
    await windows.disposeAll();
    await gone;
    expect(buffersOpen(fake)).toBe(0);
    await expect(windows.open(spec(0, [0, page]), info)).rejects.toMatchObject({
      code: 'FUNCTION_GONE',
    });
  });
});

describe('a window on registers, as memory', () => {
  it('can be imported while it is connected, if it is of one range', async () => {
    const { windows, parts } = await world();
    const window = await windows.open(spec(0, [0, page]), info);
    expect(window).toMatchObject({ isDmaTarget: true, dmaMemory: undefined });
    await window.connect();
    expect(window.dmaMemory).toEqual({ fd: window.fd, offsetBytes: 0 });
    await window.detach();
    expect(window.dmaMemory).toBeUndefined();
    const two = await windows.open(spec(2, [0, page], [page, page]), info);
    await two.connect();
    expect(two).toMatchObject({ isDmaTarget: false, dmaMemory: undefined });
    const other = new VfioWindows({ ...parts, importable: false });
    const lone = await other.open(spec(2, [0, page]), info);
    expect(lone.isDmaTarget).toBe(false);
  });

  it('combines writes where the kernel can have it, and says whether it does', async () => {
    const combining = (which: BackingSpec): BackingSpec => ({
      ...which,
      memory: 'write-combining',
    });
    const memoryOf = (window: Window): unknown => window.memory;
    const able = await world();
    const window = await able.windows.open(combining(spec(0, [0, page])), info);
    expect(memoryOf(window)).toBe('write-combining');
    expect(able.fake.buffers[0]?.attribute).toBe(1);
    expect(memoryOf(await able.windows.open(spec(2, [0, page]), info))).toBe('device');
    expect(able.fake.buffers[1]?.attribute).toBe(0);
    const unable = await world({ maps: true, revoke: 20 });
    expect(memoryOf(await unable.windows.open(combining(spec(0, [0, page])), info))).toBe('device');
    const mediated = await able.windows.open(combining(spec(4, [0, 8])), info);
    expect(memoryOf(mediated)).toBeUndefined();
  });

  it('leaves nothing where the kernel does not do what it could', async () => {
    const { windows, fake, parts } = await world();
    const offer = { ...parts.offer, memory: { works: true, feature: 30 } } as const;
    const broken = new VfioWindows({ ...parts, offer });
    const which = { ...spec(0, [0, page]), memory: 'write-combining' } as const;
    await expect(broken.open(which, info)).rejects.toMatchObject({ errno: 'ENOTTY' });
    expect(buffersOpen(fake)).toBe(0);
    await windows.open(spec(0, [0, page]), info);
    const none = new VfioWindows({ ...parts, offer: noDmaBufs('none') });
    expect((await none.open(spec(0, [0, page]), info)).revocation).toBe('mediated');
  });
});
