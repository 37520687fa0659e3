// Vectors of every struct that crosses a process border.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isProtocolError } from '../base/errors.js';
import { decodeRegionCaps, encodeRegionCaps, regionCapsBytes } from './region-caps.js';
import type { Struct } from './struct.js';
import * as vfioUser from './vfio-user.js';

interface Vector {
  readonly codec: Struct<unknown>;
  readonly hex: string;
  readonly value: unknown;
}

function vector<T>(codec: Struct<T>, hex: string, value: T): Vector {
  return { codec: codec as Struct<unknown>, hex: hex.replaceAll(' ', ''), value };
}

const vectors: readonly Vector[] = [
  vector(vfioUser.header, '0100 0500 30000000 00000000 00000000', {
    messageId: 1,
    command: vfioUser.VFIO_USER_DEVICE_GET_REGION_INFO,
    messageSize: 48,
    flags: 0,
    errno: 0,
  }),
  vector(vfioUser.header, 'feff 0900 10000000 21000000 16000000', {
    messageId: 0xfffe,
    command: vfioUser.VFIO_USER_REGION_READ,
    messageSize: 16,
    flags: vfioUser.VFIO_USER_F_TYPE_REPLY | vfioUser.VFIO_USER_F_ERROR,
    errno: 22,
  }),
  vector(vfioUser.versionHeader, '0000 0100', { major: 0, minor: 1 }),
  vector(vfioUser.dmaMap, '20000000 03000000 0000080000000000 0000000001000000 000000c000000000', {
    argsz: 32,
    flags: 3,
    offset: 0x80000n,
    address: 0x1_0000_0000n,
    size: 0xc000_0000n,
  }),
  vector(vfioUser.dmaUnmap, '18000000 02000000 0000000000000000 0000000000000000', {
    argsz: 24,
    flags: vfioUser.VFIO_USER_F_DMA_UNMAP_ALL,
    address: 0n,
    size: 0n,
  }),
  vector(vfioUser.dmaUnmap, '18000000 00000000 0000000000000080 0000000000000080', {
    argsz: 24,
    flags: 0,
    address: 1n << 63n,
    size: 1n << 63n,
  }),
  vector(vfioUser.dirtyBitmapHeader, '0010000000000000 0800000000000000', {
    pgsize: 4096n,
    size: 8n,
  }),
  vector(vfioUser.deviceInfo, '10000000 03000000 09000000 05000000', {
    argsz: 16,
    flags: 3,
    numRegions: 9,
    numIrqs: 5,
  }),
  vector(
    vfioUser.regionInfo,
    '50000000 0f000000 00000000 20000000 0000010000000000 0000004000000000',
    { argsz: 80, flags: 15, index: 0, capOffset: 32, size: 0x10000, offset: 0x4000_0000 },
  ),
  vector(vfioUser.regionIoFds, '10000000 00000000 02000000 00000000', {
    argsz: 16,
    flags: 0,
    index: 2,
    count: 0,
  }),
  vector(
    vfioUser.ioFdEntry,
    '0010000000000000 0400000000000000 00000000 00000000 00000000 00000000 0100000000000000',
    {
      offset: 0x1000n,
      size: 4n,
      fdIndex: 0,
      type: 0,
      flags: 0,
      padding: 0,
      datamatch: 1n,
    },
  ),
  vector(vfioUser.irqInfo, '10000000 09000000 02000000 00080000', {
    argsz: 16,
    flags: 9,
    index: 2,
    count: 2048,
  }),
  vector(vfioUser.irqSet, '14000000 24000000 02000000 01000000 10000000', {
    argsz: 20,
    flags: 0x24,
    index: 2,
    start: 1,
    count: 16,
  }),
  vector(vfioUser.regionAccess, '0400000000000000 07000000 02000000', {
    offset: 4,
    region: 7,
    count: 2,
  }),
  vector(vfioUser.dmaAccess, '0000000001000000 0000100000000000', {
    address: 1n << 32n,
    count: 0x100000,
  }),
];

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
}

function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('messages', () => {
  it.each(vectors.map((v) => [v.codec.name, v] as const))('%s', (_name, { codec, hex, value }) => {
    expect(Buffer.from(codec.encode(value)).toString('hex')).toBe(hex);
    expect(codec.decode(fromHex(hex))).toEqual(value);
  });

  it('never throw anything but ProtocolError on bytes from outside', () => {
    fc.assert(
      fc.property(fc.constantFrom(...vectors), fc.uint8Array({ maxLength: 48 }), (v, bytes) => {
        const exact = new Uint8Array(v.codec.sizeBytes);
        exact.set(bytes.subarray(0, exact.length));
        for (const data of [bytes, exact]) {
          const error = thrownBy(() => v.codec.decode(data));
          if (error !== undefined) expect(isProtocolError(error)).toBe(true);
          else expect(v.codec.encode(v.codec.decode(data))).toEqual(data);
        }
      }),
    );
  });
});

describe('sparse areas', () => {
  const areas = [
    { offsetBytes: 0x1000, lengthBytes: 0x2000 },
    { offsetBytes: 0x8000, lengthBytes: 0x1000 },
  ];
  const hex =
    '0100 0100 00000000 02000000 00000000' +
    '0010000000000000 0020000000000000 0080000000000000 0010000000000000';

  it('are a capability of 16 bytes and 16 for each', () => {
    const into = new Uint8Array(3 + regionCapsBytes({ areas }));
    encodeRegionCaps({ areas }, into, 3);
    expect(into.subarray(3)).toEqual(fromHex(hex));
  });

  it('are found, empty ones left out', () => {
    const info = new Uint8Array([...new Uint8Array(32), ...fromHex(hex)]);
    expect(decodeRegionCaps(info, 32, 0x9000).areas).toEqual(areas);
    info.fill(0, 56, 64);
    expect(decodeRegionCaps(info, 32, 0x9000).areas).toEqual([areas[1]]);
    expect(decodeRegionCaps(info, 0, 0x9000).areas).toBeUndefined();
  });

  it('may end where the region ends, not a byte later', () => {
    const info = fromHex(hex);
    expect(decodeRegionCaps(new Uint8Array([0, ...info]), 1, 0x9000).areas).toEqual(areas);
    const error = thrownBy(() => decodeRegionCaps(new Uint8Array([0, ...info]), 1, 0x8fff));
    expect(isProtocolError(error)).toBe(true);
  });

  it('stand before the type of the region, in one chain', () => {
    const caps = { areas, type: { type: 0x8000_8086, subtype: 2 } };
    const info = new Uint8Array(32 + regionCapsBytes(caps));
    encodeRegionCaps(caps, info, 32);
    const type = '02000100 00000000 86800080 02000000';
    expect(info.subarray(32)).toEqual(
      fromHex(hex.replace('0100 00000000', '0100 50000000') + type),
    );
    expect(decodeRegionCaps(info, 32, 0x9000)).toEqual(caps);
    const alone = new Uint8Array(16);
    encodeRegionCaps({ type: caps.type }, alone, 0);
    expect(alone).toEqual(fromHex(type));
    expect(regionCapsBytes({})).toBe(0);
  });

  it('count once, as does the type', () => {
    const one = { areas: [areas[0] as (typeof areas)[0]], type: { type: 1, subtype: 2 } };
    const two = { areas: [areas[1] as (typeof areas)[0]], type: { type: 3, subtype: 4 } };
    const info = new Uint8Array(8 + 2 * regionCapsBytes(one));
    encodeRegionCaps(one, info, 8);
    encodeRegionCaps(two, info, 8 + regionCapsBytes(one));
    const view = new DataView(info.buffer);
    for (let at = 8; ; ) {
      const next = view.getUint32(at + 4, true);
      if (next === 0) {
        view.setUint32(at + 4, 8 + regionCapsBytes(one), true);
        break;
      }
      at = next;
    }
    view.setUint32(8 + regionCapsBytes(one) + 4, 8 + regionCapsBytes(one) + 32, true);
    expect(decodeRegionCaps(info, 8, 0x9000)).toEqual(one);
  });

  it('end a chain of 32 capabilities, not one of 33', () => {
    const chain = (count: number) => {
      const info = new Uint8Array(8 + count * 8);
      const view = new DataView(info.buffer);
      for (let at = 8; at <= count * 8; at += 8) {
        view.setUint16(at, 9, true);
        view.setUint32(at + 4, at === count * 8 ? 0 : at + 8, true);
      }
      return () => decodeRegionCaps(info, 8, 1);
    };
    expect(chain(32)()).toEqual({ areas: undefined, type: undefined });
    expect(isProtocolError(thrownBy(chain(33)))).toBe(true);
  });

  it('never throw anything but ProtocolError on bytes from outside', () => {
    const start = fc.constantFrom(fromHex('01000100'), fromHex('03000100'), new Uint8Array(0));
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 90 }), fc.nat(100), (head, tail, at) => {
        const info = new Uint8Array([...new Uint8Array(8), ...head, ...tail]);
        for (const offset of [8, at]) {
          const error = thrownBy(() => decodeRegionCaps(info, offset, 0x10000));
          expect(error === undefined || isProtocolError(error)).toBe(true);
        }
      }),
    );
  });
});
