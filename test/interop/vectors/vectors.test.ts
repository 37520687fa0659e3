// What a real QEMU and our servers said to each other, as recorded by `npm run test:interop --
// --record`: the codecs must give back every byte.
import { describe, expect, test } from 'vitest';
import * as wire from '../../../src/uapi/vfio-user.js';
import { decodeVersion } from '../../../src/vfio-user/version.js';
import { type RecordedMessage, readRecordings } from './format.js';
import { reencode } from './reencode.js';

const recordings = readRecordings();
const all = recordings.flatMap(({ messages }) => messages);

function bytesOf({ hex }: RecordedMessage): Uint8Array {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

function headOf(message: RecordedMessage) {
  return wire.header.decodeAt(bytesOf(message), 0);
}

/** Messages of one command and sender. */
function of(command: number, from: RecordedMessage['from']): readonly RecordedMessage[] {
  return all.filter((message) => message.from === from && headOf(message).command === command);
}

describe.each(recordings)('$name with QEMU $qemu', ({ messages }) => {
  test('every message decodes and encodes to the same bytes', () => {
    for (const message of messages) {
      expect(Buffer.from(reencode(bytesOf(message))).toString('hex')).toBe(message.hex);
    }
  });

  test('a changed length or byte is noticed', () => {
    for (const message of messages) {
      const longer = new Uint8Array([...bytesOf(message), 0]);
      let again: Uint8Array | undefined;
      try {
        again = reencode(longer);
      } catch {
        continue;
      }
      expect(again).not.toEqual(longer);
    }
  });
});

test.each([
  ['VERSION', wire.VFIO_USER_VERSION],
  ['DMA_MAP', wire.VFIO_USER_DMA_MAP],
  ['DMA_UNMAP', wire.VFIO_USER_DMA_UNMAP],
  ['DEVICE_GET_INFO', wire.VFIO_USER_DEVICE_GET_INFO],
  ['DEVICE_GET_REGION_INFO', wire.VFIO_USER_DEVICE_GET_REGION_INFO],
  ['DEVICE_GET_IRQ_INFO', wire.VFIO_USER_DEVICE_GET_IRQ_INFO],
  ['DEVICE_SET_IRQS', wire.VFIO_USER_DEVICE_SET_IRQS],
  ['REGION_READ', wire.VFIO_USER_REGION_READ],
  ['REGION_WRITE', wire.VFIO_USER_REGION_WRITE],
  ['DMA_READ', wire.VFIO_USER_DMA_READ],
  ['DMA_WRITE', wire.VFIO_USER_DMA_WRITE],
  ['DEVICE_RESET', wire.VFIO_USER_DEVICE_RESET],
])('%s was recorded from both sides', (_, command) => {
  expect(of(command, 'client').length).toBeGreaterThan(0);
  expect(of(command, 'server').length).toBeGreaterThan(0);
});

test('posted writes, maps with and without descriptor, and eventfds were recorded', () => {
  const posted = of(wire.VFIO_USER_REGION_WRITE, 'client').filter(
    (message) => (headOf(message).flags & wire.VFIO_USER_F_NO_REPLY) !== 0,
  );
  expect(posted.length).toBeGreaterThan(0);
  const maps = of(wire.VFIO_USER_DMA_MAP, 'client').map(({ fds }) => fds);
  expect(maps).toEqual(expect.arrayContaining([0, 1]));
  const bound = of(wire.VFIO_USER_DEVICE_SET_IRQS, 'client').map(({ fds }) => fds);
  expect(bound).toEqual(expect.arrayContaining([0, 1]));
});

test('several writes in one message were recorded', () => {
  const several = of(wire.VFIO_USER_REGION_WRITE_MULTI, 'client');
  expect(several.length).toBeGreaterThan(0);
});

test('what QEMU says of itself is understood', () => {
  const [hello] = of(wire.VFIO_USER_VERSION, 'client');
  const { capabilities } = decodeVersion(bytesOf(hello as RecordedMessage).subarray(16));
  expect(capabilities).toMatchObject({
    maxMsgFds: 16,
    maxDataXferBytes: 1_048_576,
    maxDmaMaps: 65_535,
    pageSizes: 4096n,
  });
});
