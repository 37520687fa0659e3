// Drives one queue of a served mqdma as a driver without the queue library would.
import {
  completionStatus,
  completionWord,
  control,
  descriptorWord,
  mqdma,
  opcode,
  queueControl,
  queueControlOffset,
  queuePageOffset,
  queuePageWord,
} from '../../src/device/mqdma/datasheet.js';
import { type DeviceGuest, guestIova } from './device-guest.js';
import { eventually } from './lessor.js';

const entries = 16;
/** Offsets in the guest's memory. */
const place = { descriptors: 0, completions: 0x1000, source: 0x10000, destination: 0x20000 };

/** Connects a queue, lets it copy and says whether the bytes arrived. */
export async function copyWith(guest: DeviceGuest, queue: number, bytes: number): Promise<boolean> {
  const { client, memory } = guest;
  const { controlRegion, queueRegion } = mqdma;
  const stride = await client.read32(controlRegion, control.PAGE_STRIDE);
  const page = queuePageOffset(queue, stride);
  const store = (word: number, value: number) =>
    client.write32(queueRegion, page + 4 * word, value);
  const words = new Uint32Array(memory.buffer, memory.byteOffset, memory.length / 4);

  await client.write32(controlRegion, queueControlOffset(queue) + queueControl.ENABLE, 1);
  await store(queuePageWord.RING_ENTRIES, entries);
  await store(queuePageWord.DESCRIPTORS_LOW, guestIova + place.descriptors);
  await store(queuePageWord.COMPLETIONS_LOW, guestIova + place.completions);
  await store(queuePageWord.ARM, 1);
  await store(queuePageWord.RING_CONTROL, 1);

  for (let at = 0; at < bytes; at++) memory[place.source + at] = (at * 13 + queue) & 0xff;
  words[descriptorWord.OPCODE] = opcode.COPY;
  words[descriptorWord.TAG] = 7;
  words[descriptorWord.LENGTH] = bytes;
  words[descriptorWord.SOURCE] = guestIova + place.source;
  words[descriptorWord.DESTINATION] = guestIova + place.destination;
  await store(queuePageWord.TAIL, 1);

  const status = await eventually(async () => {
    const last = words[place.completions / 4 + completionWord.STATUS]!;
    return (last & 1) === 1 ? last >>> 8 : undefined;
  });
  const moved = memory.subarray(place.destination, place.destination + bytes);
  const wanted = memory.subarray(place.source, place.source + bytes);
  return status === completionStatus.OK && Buffer.compare(moved, wanted) === 0;
}
