// A window of whoever has the device itself: where it is in the device's file, and when it is over.
import { expect, it, vi } from 'vitest';
import { LessorError } from '../../base/errors.js';
import type { BackingSpec, DeviceHolder, FunctionInfo } from '../types.js';
import { noDmaBufs } from './dma-buf-offer.js';
import { FakeDmaBufs, fakePageBytes, fakeRegions } from './testing/fake-dma-bufs.js';
import { VfioWindows } from './windows.js';

const page = fakePageBytes;
const ones = 0xffff_ffff;

const info = {
  regions: fakeRegions.map(({ index, lengthBytes }) => ({ index, lengthBytes, mappable: false })),
  reserved: [{ region: 0, offsetBytes: 0x3000, lengthBytes: 16 }],
} as unknown as FunctionInfo;

function spec(region: number, ...ranges: [number, number][]): BackingSpec {
  const parts = ranges.map(([offsetBytes, lengthBytes]) => ({ offsetBytes, lengthBytes }));
  return { region, ranges: parts, access: 'read-write' };
}

/** One that lives until it is told to die. */
function holderOf() {
  let die = (): void => undefined;
  const death = new Promise<void>((resolve) => {
    die = resolve;
  });
  const end = vi.fn(() => death);
  return { holder: { end } satisfies DeviceHolder, end, die };
}

function world(offer = noDmaBufs('a kernel without')) {
  const fake = new FakeDmaBufs();
  const access = { read: vi.fn(async () => 7), write: vi.fn(async () => undefined) };
  const parts = { device: fake.device, offer, access, pageBytes: page, importable: true };
  return { fake, access, windows: new VfioWindows(parts) };
}

it('has the descriptor of the device, and the place of its region in it', async () => {
  const { fake, windows } = world();
  const { holder, die } = holderOf();
  const window = await windows.open(spec(2, [0x5000, page], [0, page]), info, { holder });
  expect(window).toMatchObject({
    revocation: 'process',
    lengthBytes: 2 * page,
    regionOffsetBytes: 2 * 2 ** 40,
    isDmaTarget: false,
  });
  expect(window.fd?.number).not.toBe(fake.device.fd.number);
  const file = fake.files.file(window.fd?.number ?? -1);
  expect(file).toBe(fake.files.file(fake.device.fd.number));
  const closing = windows.disposeAll();
  die();
  await closing;
  expect(fake.files.openCount).toBe(1);
});

it('is chosen for a holder although the kernel could take another back', async () => {
  const works = { works: true } as const;
  const numbered = { works: true, feature: 20 } as const;
  const all = { export: works, map: works, revoke: numbered, memory: numbered, strangers: works };
  const { fake, windows } = world(all);
  const window = await windows.open(spec(0, [0, page]), info, holderOf());
  expect(window.revocation).toBe('process');
  expect(fake.buffers).toEqual([]);
});

it.each([
  ['off the page', spec(0, [0x800, page]), 'UNSUPPORTED'],
  ['of part of a page', spec(0, [0, page / 2]), 'UNSUPPORTED'],
  ['of a region that nobody may map', spec(4, [0, 8]), 'UNSUPPORTED'],
  ['across a hole of what can be mapped', spec(2, [0x2000, 3 * page]), 'UNSUPPORTED'],
  ['over what is reserved', spec(0, [0x3000, page]), 'INVALID_ARGUMENT'],
])('is not made %s', async (_what, which, code) => {
  const { fake, windows } = world();
  const { holder, end } = holderOf();
  await expect(windows.open(which, info, { holder })).rejects.toMatchObject({ code });
  expect(fake.files.openCount).toBe(1);
  expect(end).not.toHaveBeenCalled();
});

it('is cut when its holder is dead, and keeps its ranges until then', async () => {
  const { fake, windows } = world();
  const { holder, end, die } = holderOf();
  const window = await windows.open(spec(0, [0, page]), info, { holder });
  let isCut = false;
  const cut = window.detach().then(() => {
    isCut = true;
  });
  await new Promise(setImmediate);
  expect(end).toHaveBeenCalledOnce();
  expect([isCut, window.fd, fake.files.openCount]).toEqual([false, undefined, 1]);
  const taken = { code: 'INVALID_ARGUMENT' };
  await expect(windows.open(spec(0, [0, page]), info)).rejects.toMatchObject(taken);
  die();
  await cut;
  await window[Symbol.asyncDispose]();
  await expect(windows.open(spec(0, [0, page]), info)).resolves.toMatchObject({ fd: undefined });
});

it('stays when its holder does not die, for another try', async () => {
  const { windows } = world();
  const end = vi.fn<DeviceHolder['end']>();
  end.mockRejectedValueOnce(new LessorError('DEADLINE_EXCEEDED', 'lives'));
  const window = await windows.open(spec(0, [0, page]), info, { holder: { end } });
  await expect(window[Symbol.asyncDispose]()).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  await expect(windows.open(spec(0, [0, page]), info)).rejects.toThrow('part of another window');
  end.mockResolvedValue();
  await window[Symbol.asyncDispose]();
  await windows.open(spec(0, [0, page]), info);
});

it('is reached by message from connect to detach', async () => {
  const { windows, access } = world();
  const { holder, die } = holderOf();
  const window = await windows.open(spec(2, [0x5000, page], [0, page]), info, { holder });
  expect(await window.registers.read32(page)).toBe(ones);
  await window.connect();
  expect(await window.registers.read32(page + 8)).toBe(7);
  expect(access.read).toHaveBeenCalledExactlyOnceWith(2, 8, 4);
  const cut = window.detach();
  expect(await window.registers.read32(page + 8)).toBe(ones);
  die();
  await cut;
  await expect(window.connect()).rejects.toMatchObject({ code: 'WINDOW_REVOKED' });
});
