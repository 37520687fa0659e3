// VERSION payloads, right and wrong: a server must judge a proposal and a client its answer alike.
import { limits } from '../../../base/limits.js';

/** Numbers and text as they stand on the wire. */
export function versionPayload(text: string, major = 0, minor = 1): Uint8Array {
  const json = Buffer.from(text, 'utf8');
  return new Uint8Array(
    Buffer.concat([Buffer.from([major & 0xff, major >> 8, minor & 0xff, minor >> 8]), json]),
  );
}

export function saying(capabilities: string): Uint8Array {
  return versionPayload(`{"capabilities":${capabilities}}\0`);
}

/** JSON of exactly so many bytes, its NUL counted. */
export function longVersion(bytes: number): Uint8Array {
  return versionPayload(`{"x":"${'y'.repeat(bytes - 9)}"}\0`);
}

const deep = `${'['.repeat(limits.vfioUserVersionBytesMax - 1)}\0`;

/** Name, what it is, payload. Each is nonsense in either direction. */
export const badVersions: readonly (readonly [string, string, Uint8Array])[] = [
  ['major-1', 'major version 1', versionPayload('{}\0', 1)],
  ['major-max', 'major version 65535', versionPayload('{}\0', 0xffff)],
  ['three-bytes', 'three bytes', Uint8Array.of(0, 0, 1)],
  ['empty', 'no payload', new Uint8Array(0)],
  ['no-nul', 'JSON without NUL', versionPayload('{}')],
  ['space-for-nul', 'JSON that ends with a space', versionPayload('{} ')],
  ['nul-alone', 'a NUL alone', versionPayload('\0')],
  ['two-nuls', 'two NULs', versionPayload('{}\0\0')],
  ['nul-within', 'a NUL within the JSON', versionPayload('{\0}\0')],
  ['half-json', 'half of a JSON', versionPayload('{"capabilities"\0')],
  ['array', 'an array', versionPayload('[]\0')],
  ['number', 'a number', versionPayload('1\0')],
  ['string', 'a string', versionPayload('"x"\0')],
  ['null', 'null', versionPayload('null\0')],
  ['deep', 'JSON nested as deep as its bytes allow', versionPayload(deep)],
  [
    'bad-utf8',
    'bytes that are not UTF-8',
    new Uint8Array([0, 0, 1, 0, 0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d, 0]),
  ],
  ['capabilities-array', 'capabilities in an array', saying('[]')],
  ['capabilities-null', 'capabilities of null', saying('null')],
  ['capabilities-string', 'capabilities in a string', saying('"x"')],
  ['fds-negative', 'max_msg_fds of -1', saying('{"max_msg_fds":-1}')],
  ['fds-1025', 'max_msg_fds of 1025', saying('{"max_msg_fds":1025}')],
  ['fds-fraction', 'max_msg_fds of 1.5', saying('{"max_msg_fds":1.5}')],
  ['fds-string', 'max_msg_fds in a string', saying('{"max_msg_fds":"1"}')],
  ['fds-null', 'max_msg_fds of null', saying('{"max_msg_fds":null}')],
  ['xfer-0', 'max_data_xfer_size of 0', saying('{"max_data_xfer_size":0}')],
  ['xfer-negative', 'max_data_xfer_size of -1', saying('{"max_data_xfer_size":-1}')],
  ['xfer-huge', 'max_data_xfer_size of 2^54', saying('{"max_data_xfer_size":18014398509481984}')],
  ['xfer-true', 'max_data_xfer_size of true', saying('{"max_data_xfer_size":true}')],
  ['maps-0', 'max_dma_maps of 0', saying('{"max_dma_maps":0}')],
  ['maps-fraction', 'max_dma_maps of 0.5', saying('{"max_dma_maps":0.5}')],
  ['maps-huge', 'max_dma_maps of 2^54', saying('{"max_dma_maps":18014398509481984}')],
  ['pages-0', 'pgsizes of 0', saying('{"pgsizes":0}')],
  ['pages-string', 'pgsizes in a string', saying('{"pgsizes":"4096"}')],
  ['pages-huge', 'pgsizes of 2^65', saying('{"pgsizes":36893488147419103232}')],
  ['twin-array', 'twin_socket in an array', saying('{"twin_socket":[]}')],
  ['twin-null', 'twin_socket of null', saying('{"twin_socket":null}')],
  ['twin-true', 'twin_socket of true', saying('{"twin_socket":true}')],
  [
    'twin-index-null',
    'fd_index of null',
    saying('{"twin_socket":{"supported":true,"fd_index":null}}'),
  ],
  ['twin-number', 'twin_socket supported by 1', saying('{"twin_socket":{"supported":1}}')],
  ['multiple-number', 'write_multiple of 1', saying('{"write_multiple":1}')],
  ['multiple-null', 'write_multiple of null', saying('{"write_multiple":null}')],
  ['multiple-string', 'write_multiple in a string', saying('{"write_multiple":"true"}')],
  ['migration-array', 'migration in an array', saying('{"migration":[]}')],
  ['migration-null', 'migration of null', saying('{"migration":null}')],
  ['migration-page-0', 'a migration pgsize of 0', saying('{"migration":{"pgsize":0}}')],
  ['migration-page-3', 'a migration pgsize of 3', saying('{"migration":{"pgsize":3}}')],
  ['bitmap-0', 'a max_bitmap_size of 0', saying('{"migration":{"max_bitmap_size":0}}')],
];

/** Name, what it is, payload. Each is fine in either direction. */
export const goodVersions: readonly (readonly [string, string, Uint8Array])[] = [
  ['no-json', 'no JSON says the defaults', Uint8Array.of(0, 0, 1, 0)],
  ['no-capabilities', 'an object without capabilities says the defaults', versionPayload('{}\0')],
  ['no-keys', 'no keys say the defaults', saying('{}')],
  ['unknown-key', 'unknown keys are ignored', saying('{"a":{"b":[1]}}')],
  ['unknown-member', 'unknown members are ignored', versionPayload('{"x":1}\0')],
  ['prototype', '__proto__ is a key like any other', saying('{"__proto__":{"max_msg_fds":-1}}')],
  ['fds-0', 'max_msg_fds of 0', saying('{"max_msg_fds":0}')],
  ['fds-1024', 'max_msg_fds of 1024', saying('{"max_msg_fds":1024}')],
  ['xfer-1', 'max_data_xfer_size of 1', saying('{"max_data_xfer_size":1}')],
  ['maps-1', 'max_dma_maps of 1', saying('{"max_dma_maps":1}')],
  ['pages-more', 'pgsizes of more than 4 KiB', saying('{"pgsizes":2101248}')],
  ['minor-0', 'minor version 0', versionPayload('{}\0', 0, 0)],
  ['longest', 'JSON of the limit', longVersion(limits.vfioUserVersionBytesMax)],
];
