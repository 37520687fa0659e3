// A recorded message, taken apart by the codecs and put together again from their values alone.

import type { Struct } from '../../../src/uapi/struct.js';
import * as wire from '../../../src/uapi/vfio-user.js';
import { headerBytes } from '../../../src/vfio-user/framing.js';
import { decodeRegionCaps, encodeRegionCaps } from './region-caps.js';

/** What follows the fixed part: given its value, how many bytes there must be. */
type TailBytes<T> = (value: T, isReply: boolean) => number;

interface Layout {
  /** @returns The payload, encoded again. */
  again(payload: Uint8Array, isReply: boolean): Uint8Array;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** A struct, and so many bytes after it as its value says. */
function layout<T>(codec: Struct<T>, tailBytes: TailBytes<T> = () => 0): Layout {
  return {
    again(payload, isReply) {
      const value = codec.decodeAt(payload, 0);
      const tail = payload.slice(codec.sizeBytes);
      const expected = tailBytes(value, isReply);
      if (tail.length !== expected) {
        throw new Error(`${tail.length} bytes after ${codec.name}, not ${expected}`);
      }
      return joined(codec.encode(value), tail);
    },
  };
}

/** Nothing at all. */
const empty: Layout = { again: () => new Uint8Array(0) };

/** JSON as its sender spells it: QEMU puts a space after commas and colons, we do not. */
function spell(value: unknown, isSpaced: boolean): string {
  if (!isSpaced || typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([key, inner]) => `"${key}": ${spell(inner, true)}`);
  return `{${members.join(', ')}}`;
}

const version: Layout = {
  again(payload) {
    const { sizeBytes } = wire.versionHeader;
    const numbers = wire.versionHeader.decodeAt(payload, 0);
    const text = new TextDecoder('utf-8', { fatal: true }).decode(payload.subarray(sizeBytes, -1));
    const again = `${spell(JSON.parse(text), text.includes('": '))}\0`;
    return joined(wire.versionHeader.encode(numbers), new TextEncoder().encode(again));
  },
};

const region: Layout = {
  again(payload) {
    const value = wire.regionInfo.decodeAt(payload, 0);
    const caps = decodeRegionCaps(payload, value.capOffset);
    return joined(wire.regionInfo.encode(value), encodeRegionCaps(caps, value.capOffset));
  },
};

/** A count, and so many writes. */
const writes: Layout = {
  again(payload) {
    const { count } = wire.regionWriteMulti.decodeAt(payload, 0);
    const { sizeBytes } = wire.regionWriteMultiEntry;
    const entries = Array.from({ length: count }, (_, index) =>
      wire.regionWriteMultiEntry.decodeAt(
        payload,
        wire.regionWriteMulti.sizeBytes + index * sizeBytes,
      ),
    );
    const again = entries.map((entry) => wire.regionWriteMultiEntry.encode(entry));
    return joined(wire.regionWriteMulti.encode({ count }), ...again);
  },
};

const irqDataBool = 2;

const commands = new Map<number, { readonly command: Layout; readonly reply: Layout }>([
  [wire.VFIO_USER_VERSION, { command: version, reply: version }],
  [wire.VFIO_USER_DMA_MAP, { command: layout(wire.dmaMap), reply: empty }],
  [wire.VFIO_USER_DMA_UNMAP, { command: layout(wire.dmaUnmap), reply: layout(wire.dmaUnmap) }],
  [
    wire.VFIO_USER_DEVICE_GET_INFO,
    { command: layout(wire.deviceInfo), reply: layout(wire.deviceInfo) },
  ],
  [wire.VFIO_USER_DEVICE_GET_REGION_INFO, { command: layout(wire.regionInfo), reply: region }],
  [
    wire.VFIO_USER_DEVICE_GET_IRQ_INFO,
    { command: layout(wire.irqInfo), reply: layout(wire.irqInfo) },
  ],
  [
    wire.VFIO_USER_DEVICE_SET_IRQS,
    {
      command: layout(wire.irqSet, ({ flags, count }) => ((flags & irqDataBool) === 0 ? 0 : count)),
      reply: empty,
    },
  ],
  [
    wire.VFIO_USER_REGION_READ,
    {
      command: layout(wire.regionAccess),
      reply: layout(wire.regionAccess, ({ count }) => count),
    },
  ],
  [
    wire.VFIO_USER_REGION_WRITE,
    {
      command: layout(wire.regionAccess, ({ count }) => count),
      reply: layout(wire.regionAccess),
    },
  ],
  [
    wire.VFIO_USER_DMA_READ,
    { command: layout(wire.dmaAccess), reply: layout(wire.dmaAccess, ({ count }) => count) },
  ],
  [
    wire.VFIO_USER_DMA_WRITE,
    { command: layout(wire.dmaAccess, ({ count }) => count), reply: layout(wire.dmaAccess) },
  ],
  [wire.VFIO_USER_REGION_WRITE_MULTI, { command: writes, reply: layout(wire.regionWriteMulti) }],
  [wire.VFIO_USER_DEVICE_RESET, { command: empty, reply: empty }],
]);

/**
 * Decodes a whole message and encodes what came out.
 *
 * @throws ProtocolError, Error when it is not what the protocol says.
 */
export function reencode(bytes: Uint8Array): Uint8Array {
  const head = wire.header.decodeAt(bytes, 0);
  const isReply = (head.flags & wire.VFIO_USER_F_TYPE_MASK) === wire.VFIO_USER_F_TYPE_REPLY;
  const isError = (head.flags & wire.VFIO_USER_F_ERROR) !== 0;
  const known = commands.get(head.command);
  if (known === undefined) throw new Error(`command ${head.command} is not known`);
  const form = isError ? empty : known[isReply ? 'reply' : 'command'];
  const payload = form.again(bytes.subarray(headerBytes), isReply);
  const messageSize = headerBytes + payload.length;
  return joined(wire.header.encode({ ...head, messageSize }), payload);
}
