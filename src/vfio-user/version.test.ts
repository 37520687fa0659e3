import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isProtocolError } from '../base/errors.js';
import { answerVersion, decodeVersion, encodeVersion, ownCapabilities } from './version.js';

const defaults = {
  maxMsgFds: 1,
  maxDataXferBytes: 1_048_576,
  maxDmaMaps: 65_535,
  pageSizes: 4096n,
  writeMultiple: false,
  twinSocket: false,
  migration: undefined,
};

function payload(json: string, major = 0, minor = 1): Uint8Array {
  return new Uint8Array([major, 0, minor, 0, ...Buffer.from(json)]);
}

function caps(text: string): Uint8Array {
  return payload(`{"capabilities":${text}}\0`);
}

function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('VERSION', () => {
  it.each([
    ['no JSON', payload('')],
    ['an empty object', payload('{}\0')],
    ['empty capabilities', caps('{}')],
    ['unknown ones', caps('{"shared_memory":{"pgsize":4096},"x":[1]}')],
    ['a prototype', caps('{"__proto__":{"max_msg_fds":9}}')],
  ])('takes %s for the defaults', (_what, bytes) => {
    expect(decodeVersion(bytes).capabilities).toEqual(defaults);
  });

  it('reads what QEMU proposes', () => {
    const text =
      '{"max_msg_fds": 16, "max_data_xfer_size": 1048576, "max_dma_maps": 65535, ' +
      '"pgsizes": 4096, "migration": {"pgsize": 4096, "max_bitmap_size": 268435456}, ' +
      '"write_multiple": true}';
    expect(decodeVersion(caps(text))).toEqual({
      major: 0,
      minor: 1,
      capabilities: {
        ...defaults,
        maxMsgFds: 16,
        writeMultiple: true,
        migration: { pageBytes: 4096, bitmapBytesMax: 268_435_456 },
      },
      jsonBytes: 193,
    });
  });

  it.each([
    ['max_msg_fds', 0, 1024],
    ['max_data_xfer_size', 1, 2 ** 53],
    ['max_dma_maps', 1, 2 ** 53],
    ['pgsizes', 1, 2 ** 64],
  ])('takes %s from %i to %i', (key, min, max) => {
    for (const value of [min, max]) {
      expect(thrownBy(() => decodeVersion(caps(`{"${key}":${value}}`)))).toBeUndefined();
    }
    for (const text of [min - 1, 1.5, '"1"', 'null', '[1]', 'true', max * 2]) {
      const error = thrownBy(() => decodeVersion(caps(`{"${key}":${text}}`)));
      expect(isProtocolError(error)).toBe(true);
    }
  });

  it('reads a mask of all pages above 4 KiB exactly', () => {
    const bytes = caps('{"pgsizes":18446744073709547520}');
    expect(decodeVersion(bytes).capabilities.pageSizes).toBe((1n << 64n) - 4096n);
  });

  it.each([
    ['another major version', payload('{}\0', 1)],
    ['three bytes', Uint8Array.of(0, 0, 1)],
    ['no NUL', payload('{}')],
    ['another byte for the NUL', payload('{} ')],
    ['a NUL alone', payload('\0')],
    ['two NULs', payload('{}\0\0')],
    ['a NUL within', payload('{\0}\0')],
    ['no JSON', payload('{"capabilities"\0')],
    ['an array', payload('[]\0')],
    ['a number', payload('1\0')],
    ['null', payload('null\0')],
    ['an array of capabilities', caps('[]')],
    ['a string of capabilities', caps('"x"')],
    ['bad UTF-8', new Uint8Array([0, 0, 1, 0, 0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d, 0])],
  ])('refuses %s', (_what, bytes) => {
    expect(isProtocolError(thrownBy(() => decodeVersion(bytes)))).toBe(true);
  });

  it('survives deep nesting', () => {
    const error = thrownBy(() => decodeVersion(payload(`${'['.repeat(4090)}\0`)));
    expect(isProtocolError(error)).toBe(true);
  });

  it('reads what it wrote', () => {
    const values = fc.record({
      maxMsgFds: fc.nat(1024),
      maxDataXferBytes: fc.integer({ min: 1, max: 2 ** 40 }),
      maxDmaMaps: fc.integer({ min: 1, max: 65_535 }),
      pageSizes: fc.bigInt({ min: 1n, max: 1n << 52n }),
      writeMultiple: fc.boolean(),
      twinSocket: fc.boolean(),
      migration: fc.option(
        fc.record({
          pageBytes: fc.nat(40).map((bits) => 2 ** bits),
          bitmapBytesMax: fc.integer({ min: 1, max: 2 ** 40 }),
        }),
        { nil: undefined },
      ),
    });
    fc.assert(
      fc.property(values, fc.nat(0xffff), (capabilities, minor) => {
        const bytes = encodeVersion(minor, capabilities);
        const jsonBytes = bytes.length - 4;
        expect(decodeVersion(bytes)).toEqual({ major: 0, minor, capabilities, jsonBytes });
      }),
    );
  });

  it('never throws anything but ProtocolError on bytes from outside', () => {
    const json = fc.json().map((text) => new Uint8Array(Buffer.from(`\0\0\0\0${text}\0`)));
    fc.assert(
      fc.property(fc.oneof(json, fc.uint8Array({ maxLength: 80 })), (bytes) => {
        const error = thrownBy(() => decodeVersion(bytes));
        expect(error === undefined || isProtocolError(error)).toBe(true);
      }),
    );
  });

  it.each([
    ['write_multiple', 'true', { writeMultiple: true }],
    ['write_multiple', 'false', {}],
    ['twin_socket', '{"supported":true}', { twinSocket: true }],
    ['twin_socket', '{"supported":false}', {}],
    ['twin_socket', '{}', {}],
    ['migration', '{}', { migration: { pageBytes: 4096, bitmapBytesMax: 268_435_456 } }],
    [
      'migration',
      '{"pgsize":65536,"max_bitmap_size":8}',
      { migration: { pageBytes: 65_536, bitmapBytesMax: 8 } },
    ],
  ])('takes %s of %s', (key, value, wanted) => {
    const { capabilities } = decodeVersion(caps(`{"${key}":${value}}`));
    expect(capabilities).toEqual({ ...defaults, ...wanted });
  });

  it.each([
    ['write_multiple', '1'],
    ['write_multiple', '"true"'],
    ['twin_socket', 'true'],
    ['twin_socket', 'null'],
    ['twin_socket', '[]'],
    ['twin_socket', '{"supported":1}'],
    ['twin_socket', '{"fd_index":-1}'],
    ['twin_socket', '{"fd_index":1025}'],
    ['twin_socket', '{"fd_index":"0"}'],
    ['migration', 'true'],
    ['migration', '{"pgsize":0}'],
    ['migration', '{"pgsize":4095}'],
    ['migration', '{"pgsize":"4096"}'],
    ['migration', '{"max_bitmap_size":0}'],
    ['migration', '{"max_bitmap_size":0.5}'],
  ])('refuses %s of %s', (key, value) => {
    expect(isProtocolError(thrownBy(() => decodeVersion(caps(`{"${key}":${value}}`))))).toBe(true);
  });

  it('says which descriptor is the twin socket', () => {
    const capabilities = { ...ownCapabilities, twinSocket: true };
    expect(decodeVersion(encodeVersion(0, capabilities, { twinFdIndex: 3 })).twinFdIndex).toBe(3);
    expect(decodeVersion(encodeVersion(0, capabilities)).twinFdIndex).toBeUndefined();
  });

  it('leaves defaults out where there is no room for them', () => {
    const whole = encodeVersion(0, ownCapabilities);
    const jsonBytes = whole.length - 4;
    expect(encodeVersion(0, ownCapabilities, { jsonBytesMax: jsonBytes })).toEqual(whole);
    const cut = encodeVersion(0, ownCapabilities, { jsonBytesMax: jsonBytes - 1 });
    expect(Buffer.from(cut.subarray(4)).toString()).toBe(
      '{"capabilities":{"max_msg_fds":16,' +
        '"migration":{"pgsize":4096,"max_bitmap_size":1048576},"write_multiple":true}}\0',
    );
    expect(decodeVersion(cut).capabilities).toEqual(ownCapabilities);
  });

  describe('answer', () => {
    const proposed = { major: 0, minor: 1, capabilities: defaults };

    it.each([
      [0, 0],
      [1, 1],
      [2, 1],
      [0xffff, 1],
    ])('to minor %i is %i', (minor, answered) => {
      expect(answerVersion({ ...proposed, minor }, ownCapabilities).minor).toBe(answered);
    });

    it('is never above what was proposed', () => {
      const capabilities = { ...defaults, maxDmaMaps: 10, pageSizes: 0x201000n };
      const own = { ...ownCapabilities, twinSocket: true };
      const answer = answerVersion({ ...proposed, capabilities }, own);
      const wanted = { writeMultiple: false, twinSocket: false, migration: undefined };
      expect(answer.capabilities).toEqual({ ...ownCapabilities, maxDmaMaps: 10, ...wanted });
    });

    const rich = {
      ...ownCapabilities,
      twinSocket: true,
      migration: { pageBytes: 8192, bitmapBytesMax: 100 },
    };

    it('is no more than the server has', () => {
      const answer = answerVersion({ ...proposed, capabilities: rich }, defaults);
      const { writeMultiple, twinSocket, migration } = answer.capabilities;
      expect([writeMultiple, twinSocket, migration]).toEqual([false, false, undefined]);
    });

    it('grants what both have', () => {
      const own = {
        ...ownCapabilities,
        twinSocket: true,
        migration: { pageBytes: 4096, bitmapBytesMax: 200 },
      };
      const answer = answerVersion({ ...proposed, capabilities: rich }, own);
      expect(answer.capabilities).toEqual(rich);
      const other = answerVersion({ ...proposed, capabilities: own }, rich);
      expect(other.capabilities.migration).toEqual({ pageBytes: 8192, bitmapBytesMax: 100 });
    });

    it('grants no twin socket to a client that takes no descriptor', () => {
      const capabilities = { ...rich, maxMsgFds: 0 };
      const answer = answerVersion({ ...proposed, capabilities }, rich);
      expect(answer.capabilities.twinSocket).toBe(false);
    });

    it('needs a page size in common', () => {
      const capabilities = { ...defaults, pageSizes: 0x200000n };
      const error = thrownBy(() => answerVersion({ ...proposed, capabilities }, ownCapabilities));
      expect(isProtocolError(error)).toBe(true);
    });
  });
});
