// The state of a served device, taken from one server to another, and what it wrote meanwhile.
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isLessorError, isOsError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { MigrationState } from '../endpoint.js';
import { labOs } from '../testing/lab.js';
import { LabDevice, labPage, labRegister, labStatusWord } from '../testing/lab-device.js';
import { turns } from '../testing/world.js';
import { ServedDevice } from './served-device.js';

const config = 7;
const page = 4096;
const made: ServedDevice[] = [];

function serve(device = new LabDevice()): { device: LabDevice; served: ServedDevice } {
  const served = new ServedDevice(device, {
    os: labOs,
    name: 'migration',
    dma: 'direct',
    arenaBytes: 2 ** 30,
    idleSpinMs: 0,
    onBug: (error) => {
      throw error;
    },
  });
  made.push(served);
  return { device, served };
}

async function walk(served: ServedDevice, ...states: MigrationState[]): Promise<void> {
  for (let index = 1; index < states.length; index++) {
    await served.migration!.transition(states[index - 1]!, states[index]!);
  }
}

async function save(served: ServedDevice, chunkBytes = 1000): Promise<Uint8Array> {
  await walk(served, 'running', 'stop', 'stop-copy');
  const parts: Uint8Array[] = [];
  for (;;) {
    const part = served.migration!.readData(chunkBytes);
    parts.push(part);
    if (part.length < chunkBytes) break;
  }
  expect(served.migration!.readData(10)).toHaveLength(0);
  await walk(served, 'stop-copy', 'stop');
  return new Uint8Array(Buffer.concat(parts));
}

async function load(served: ServedDevice, state: Uint8Array, chunkBytes = 777): Promise<void> {
  await walk(served, 'running', 'stop', 'resuming');
  for (let at = 0; at < state.length; at += chunkBytes) {
    served.migration!.writeData(state.subarray(at, at + chunkBytes));
  }
  await walk(served, 'resuming', 'stop');
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'none';
  } catch (error) {
    return isLessorError(error) ? error.code : isOsError(error) ? error.errno : String(error);
  }
}

function write32(served: ServedDevice, region: number, at: number, value: number) {
  return served.write(region, at, new Uint8Array(Uint32Array.of(value).buffer));
}

async function read32(served: ServedDevice, region: number, at: number): Promise<number> {
  return Buffer.from(await served.read(region, at, 4)).readUInt32LE();
}

let source: ServedDevice;
let state: Uint8Array;

beforeEach(async () => {
  source = serve().served;
  await write32(source, 0, labRegister.STORAGE, 11);
  await write32(source, 2, labPage.target + 16, 22);
  await write32(source, config, 4, 6);
  await write32(source, config, 0x10, 0xfebf_0000);
  await write32(source, 4, 8, 33);
  await write32(source, 4, 16 + 12, 1);
  const capability = (await source.read(config, 0x34, 1)) as Uint8Array;
  await write32(source, config, capability[0]!, 0x8000_0000);
  await write32(source, 0, labRegister.INTERRUPT, 1);
  await write32(source, 0, labRegister.PIN, 1);
  state = await save(source);
});

afterEach(() => {
  for (const served of made.splice(0)) served[Symbol.dispose]();
});

describe('the state of a device', () => {
  it('is all there on the other side', async () => {
    const { served, device } = serve();
    await load(served, state);
    expect(await read32(served, 0, labRegister.STORAGE)).toBe(11);
    expect(await read32(served, 2, labPage.target + 16)).toBe(22);
    expect(await read32(served, config, 4)).toBe(0x18_0006);
    expect(await read32(served, config, 0x10)).toBe(0xfebf_0000);
    expect(await read32(served, 4, 8)).toBe(33);
    expect(await read32(served, 4, 0x1000)).toBe(2);
    expect(device.isStopped).toBe(true);
    await walk(served, 'stop', 'running');
    expect(device.isStopped).toBe(false);
    expect(Buffer.from(await save(served, 2 ** 20)).equals(state)).toBe(true);
  });

  it('is taken while the device stands still', async () => {
    const { served, device } = serve();
    await walk(served, 'running', 'stop');
    await turns();
    const { steps } = device;
    await write32(served, 2, labPage.target, 5);
    await turns(20);
    expect(device.steps).toBe(steps);
    await walk(served, 'stop', 'running');
    await turns(20);
    expect(await read32(served, 2, labPage.status + 4 * labStatusWord.COUNT)).toBe(5);
  });

  it('changes nothing when it is not whole, or of another device', async () => {
    const { served } = serve();
    const before = await save(served);
    await walk(served, 'stop', 'running');
    const other = serve(new LabDevice({ config: { deviceId: 1 } })).served;
    const fewer = serve(new LabDevice({ config: { vectorCount: 5 } })).served;
    const ownPart = state.slice();
    // The length of the device's own part, the last section: 64 bytes behind its head.
    ownPart[ownPart.length - 64 - 4] = 56;
    const bad = [
      new Uint8Array(0),
      state.subarray(0, 15),
      state.subarray(0, -1),
      new Uint8Array([...state, 0]),
      ownPart,
      await save(other),
      await save(fewer),
    ];
    for (const bytes of bad) {
      expect(await codeOf(load(served, bytes))).toBe('INVALID_ARGUMENT');
      await served.reset();
    }
    expect(Buffer.from(await save(served)).equals(before)).toBe(true);
  });

  it('is hostile: no bytes do more than to be refused', async () => {
    const { served } = serve();
    const change = fc.record({
      at: fc.nat(state.length - 1),
      value: fc.integer({ min: 0, max: 255 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 8 }), async (changes) => {
        const bytes = state.slice();
        for (const { at, value } of changes) bytes[at] = value;
        expect(['none', 'INVALID_ARGUMENT']).toContain(await codeOf(load(served, bytes)));
        await served.reset();
        expect(await read32(served, config, 0)).toBe(await read32(source, config, 0));
      }),
      { numRuns: 200 },
    );
  });

  it('may be as long as the limit', async () => {
    const { served } = serve();
    await walk(served, 'running', 'stop', 'resuming');
    const mebibyte = new Uint8Array(2 ** 20);
    for (let count = 0; count < limits.vfioUserStateBytesMax / 2 ** 20; count++) {
      served.migration!.writeData(mebibyte);
    }
    expect(() => served.migration!.writeData(new Uint8Array(1))).toThrow(/device state/);
    expect(await codeOf(walk(served, 'resuming', 'stop'))).toBe('INVALID_ARGUMENT');
  });

  it('is left behind when the client goes or resets', async () => {
    const { served, device } = serve();
    await walk(served, 'running', 'stop', 'stop-copy');
    await served.closed();
    expect([device.isStopped, served.migration!.readData(8).length]).toEqual([false, 0]);
    await walk(served, 'running', 'stop', 'resuming');
    await served.reset();
    expect([device.isStopped, device.resets]).toEqual([false, 1]);
  });

  it('knows no arc but its own', async () => {
    const { served } = serve();
    expect(await codeOf(walk(served, 'running', 'pre-copy'))).toBe('UNSUPPORTED');
  });
});

describe('dirty pages', () => {
  const base = 0x10_0000;
  let served: ServedDevice;
  let device: LabDevice;

  beforeEach(async () => {
    ({ served, device } = serve());
    const lengthBytes = 256 * page;
    const fd = labOs.memory.create('lessor-test-dirty', lengthBytes);
    const access = { readable: true, writable: true, offsetBytes: 0n };
    served.dmaMap({ iova: BigInt(base), lengthBytes: BigInt(lengthBytes), ...access, fd });
    await write32(served, config, 4, 4);
  });

  const range = (pages: number) => ({ iova: BigInt(base), lengthBytes: BigInt(pages * page) });
  const report = (pages: number, pageBytes = page) => [
    ...served.dirtyPages.report(range(pages), pageBytes),
  ];

  it('are those that the device wrote, once', () => {
    expect(served.dirtyPages.start(page, [])).toBe(page);
    device.bus!.write(undefined, base + page - 1, new Uint8Array(2));
    device.bus!.read(undefined, base + 5 * page, new Uint8Array(2));
    device.bus!.direct!.translate(undefined, base + 70 * page + 5, 'write');
    expect(report(65)).toEqual([3, ...new Array(15).fill(0)]);
    expect(report(72)).toEqual([...new Array(8).fill(0), 64, ...new Array(7).fill(0)]);
    expect(report(72)).toEqual(new Array(16).fill(0));
  });

  it('come in pages of other sizes', () => {
    expect(served.dirtyPages.start(4 * page, [])).toBe(4 * page);
    device.bus!.write(undefined, base + 5 * page, new Uint8Array(1));
    expect(report(64, 4 * page)).toEqual([2, 0, 0, 0, 0, 0, 0, 0]);
    expect(served.dirtyPages.start(1024, [])).toBe(page);
    device.bus!.write(undefined, base + page, new Uint8Array(1));
    expect(report(8, 1024)).toEqual([0xf0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('are marked again by translations that the device had kept', () => {
    const direct = device.bus!.direct!;
    const kept = direct.generation!();
    served.dirtyPages.start(page, []);
    const started = direct.generation!();
    report(1);
    expect(new Set([kept, started, direct.generation!()]).size).toBe(3);
  });

  it.each([
    ['EINVAL', () => served.dirtyPages.start(0, [])],
    ['EINVAL', () => served.dirtyPages.start(3000, [])],
    ['EINVAL', () => report(1)],
    ['ENOENT', () => served.dirtyPages.report({ iova: 0n, lengthBytes: 4096n }, page)],
    ['EINVAL', () => served.dirtyPages.report({ iova: 0n, lengthBytes: 2n ** 63n }, page)],
    ['EINVAL', () => served.dirtyPages.report(range(1), 2 * page)],
    ['EINVAL', () => served.dirtyPages.report(range(1), 0)],
  ])('are refused with %s', async (errno, call) => {
    expect(await codeOf((async () => call())())).toBe(errno);
    served.dirtyPages.start(page, []);
    served.dirtyPages.stop();
    expect(await codeOf((async () => report(1))())).toBe('EINVAL');
  });
});
