import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isLessorError, ProtocolError } from '../base/errors.js';
import { ConfigSpace } from './config-space.js';
import { listCapabilities, vendorPayloads } from './config-space-capabilities.js';
import {
  decodeWindowCapability,
  encodeWindowCapability,
  findWindows,
  type ShownWindow,
} from './window-capability.js';

const queue: ShownWindow = {
  name: 'queue',
  region: 0,
  offsetBytes: 0,
  lengthBytes: 0x1000,
  access: 'read-write',
  memory: 'device',
};
const status: ShownWindow = {
  name: 'status',
  region: 1,
  offsetBytes: 0x2000,
  lengthBytes: 0x1000,
  access: 'read',
  memory: 'device',
};
const hex =
  '4c570102' + '057175657565' + '00010000000000100000' + '06737461747573' + '01000020000000100000';

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

function configWith(payload: Uint8Array): Uint8Array {
  const identity = { vendorId: 1, deviceId: 2, subsystemVendorId: 3, subsystemId: 4 };
  const space = new ConfigSpace({
    ...identity,
    classCode: 0x120000,
    revisionId: 0,
    vectorCount: 0,
    bars: [],
    vendorCapabilities: [Uint8Array.of(1, 2, 3), payload],
  });
  return space.read(0, 256);
}

describe('window capability', () => {
  it('has the documented layout', () => {
    expect(Buffer.from(encodeWindowCapability([queue, status])).toString('hex')).toBe(hex);
    expect(decodeWindowCapability(fromHex(hex))).toEqual([queue, status]);
  });

  it('is found in a configuration space beside other vendor capabilities', () => {
    expect(findWindows(configWith(fromHex(hex)))).toEqual([queue, status]);
    expect(findWindows(configWith(Uint8Array.of(9)))).toBeUndefined();
  });

  it('takes 128 bytes as a capability and no more', () => {
    // 3 + 4 bytes before the windows; 11 and the name for each.
    const windows = (...lengths: number[]) =>
      lengths.map((length, index) => ({ ...queue, name: `${index}`.padEnd(length, 'x') }));
    expect(encodeWindowCapability(windows(12, 12, 12, 12, 12)).length + 3).toBe(122);
    expect(encodeWindowCapability(windows(9, 9, 9, 9, 9, 10)).length + 3).toBe(128);
    const error = thrownBy(() => encodeWindowCapability(windows(9, 9, 9, 9, 10, 10)));
    expect(isLessorError(error, 'DRIVER_INVALID')).toBe(true);
  });

  it.each([
    ['an empty name', { name: '' }],
    ['a name of 13 bytes', { name: 'x'.repeat(13) }],
    ['a name with a space', { name: 'a b' }],
    ['a name beyond ASCII', { name: 'é' }],
    ['no BAR', { region: 6 }],
    ['a negative region', { region: -1 }],
    ['an offset of 2^32', { offsetBytes: 2 ** 32 }],
    ['no length', { lengthBytes: 0 }],
    ['an end past 2^32', { offsetBytes: 2 ** 32 - 0x1000, lengthBytes: 0x1001 }],
  ])('refuses %s', (_name, change) => {
    const error = thrownBy(() => encodeWindowCapability([{ ...queue, ...change }]));
    expect(isLessorError(error, 'DRIVER_INVALID')).toBe(true);
  });

  it('says which windows may combine writes', () => {
    const combining = [queue, status].map((one) => ({
      ...one,
      memory: 'write-combining' as const,
    }));
    const wire = hex
      .replace('71756575650001', '71756575650003')
      .replace('7573010000', '7573010200');
    expect(Buffer.from(encodeWindowCapability(combining)).toString('hex')).toBe(wire);
    expect(decodeWindowCapability(fromHex(wire))).toEqual(combining);
  });

  it('takes an end at 2^32 and a name of 12 bytes', () => {
    const window = { ...queue, name: 'x'.repeat(12), offsetBytes: 2 ** 32 - 0x1000 };
    expect(decodeWindowCapability(encodeWindowCapability([window]))).toEqual([window]);
  });

  it('refuses a name twice, both ways', () => {
    const error = thrownBy(() => encodeWindowCapability([queue, queue]));
    expect(isLessorError(error, 'DRIVER_INVALID')).toBe(true);
    const one = hex.slice(8, 40);
    expect(() => decodeWindowCapability(fromHex(`4c570102${one}${one}`))).toThrow(ProtocolError);
  });

  it.each([
    ['another signature', `4d${hex.slice(2)}`],
    ['another version', `4c5702${hex.slice(6)}`],
    ['a missing window', hex.slice(0, -34)],
    ['a truncated window', hex.slice(0, -2)],
    ['bytes behind the last', `${hex}00`],
    ['an unknown access', hex.replace('71756575650001', '71756575650004')],
    ['an empty name', '4c5701010000010000000000100000'],
    ['nothing', ''],
  ])('refuses %s', (_name, wire) => {
    expect(thrownBy(() => decodeWindowCapability(fromHex(wire)))).toBeInstanceOf(ProtocolError);
  });

  it('never throws anything but ProtocolError on bytes from outside', () => {
    const payload = fc.uint8Array({ maxLength: 128 }).map((b) => new Uint8Array([76, 87, 1, ...b]));
    fc.assert(
      fc.property(payload, (bytes) => {
        const error = thrownBy(() => decodeWindowCapability(bytes));
        expect(error === undefined || error instanceof ProtocolError).toBe(true);
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 300 }), (config) => {
        if (config.length > 6) config[6] = 0x10;
        const error = thrownBy(() => findWindows(config));
        expect(error === undefined || error instanceof ProtocolError).toBe(true);
      }),
    );
  });
});

describe('capability chain of others', () => {
  const base = () => configWith(fromHex(hex));

  it('is listed in order', () => {
    expect(listCapabilities(base())).toEqual([
      { id: 9, offsetBytes: 0x40 },
      { id: 9, offsetBytes: 0x48 },
    ]);
    expect(vendorPayloads(base())[0]).toEqual(Uint8Array.of(1, 2, 3));
  });

  it('is empty when STATUS says so', () => {
    const config = base();
    config[6] = 0;
    expect(listCapabilities(config)).toEqual([]);
  });

  it.each([
    ['loops', 0x49, 0x40],
    ['points into the header', 0x49, 0x3c],
    ['gives a length under 3', 0x4a, 2],
    ['gives a length that leaves the space', 0x4a, 0xb9],
  ])('is refused when it %s', (_name, at, value) => {
    const config = base();
    config[at] = value;
    expect(thrownBy(() => vendorPayloads(config))).toBeInstanceOf(ProtocolError);
  });

  it('may end at the last byte', () => {
    const config = base();
    config[0x4a] = 0xb8;
    expect(vendorPayloads(config)[1]).toHaveLength(0xb5);
  });
});
