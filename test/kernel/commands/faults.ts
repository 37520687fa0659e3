// Fault queues and their files.
import fc from 'fast-check';
import { type Command, defineCommand } from '../command.js';
import { at as pickFrom } from '../state.js';
import { StructBytes, u32At } from '../struct-bytes.js';
import * as draw from '../values.js';

export const faultQueueAlloc = defineCommand({
  name: 'IOMMU_FAULT_QUEUE_ALLOC',
  weight: 1.5,
  args: fc.record({ flags: draw.flags }),
  draft: ({ flags }) => ({
    request: 0x3b8e,
    argument: new StructBytes(16).u32(0, 16).u32(4, flags).bytes,
    descriptorAt: 12,
    text: `flags ${flags}`,
  }),
  learn: (_args, { bytes, key }, state) => {
    state.add(u32At(bytes, 8), 'fault');
    if (key !== undefined) state.queues.push(key);
  },
});

export const faultRead = defineCommand({
  name: 'fault queue read',
  weight: 3,
  args: fc.record({
    queue: fc.nat(3),
    length: draw.weighted([8, draw.among(40, 80, 400)], [1, draw.among(39, 41, 8)]),
  }),
  draft: ({ queue, length }, state) => {
    const key = pickFrom(state.queues, queue) ?? -1;
    return {
      request: 0,
      argument: 0,
      file: { key, action: 'read' as const, lengthBytes: length },
      text: `${length} bytes of queue ${key}`,
    };
  },
});

export const faultWrite = defineCommand({
  name: 'fault queue write',
  weight: 3,
  args: fc.record({
    queue: fc.nat(3),
    length: draw.weighted([8, draw.among(8, 16, 24)], [1, draw.among(7, 12)]),
    answers: fc.array(
      fc.record({
        cookie: draw.weighted([8, fc.integer({ min: 0, max: 3 })], [1, fc.constant(draw.u32Max)]),
        code: draw.weighted([8, draw.among(0, 1)], [1, fc.constant(2)]),
      }),
      { minLength: 3, maxLength: 3 },
    ),
  }),
  draft: ({ queue, length, answers }, state) => {
    const key = pickFrom(state.queues, queue) ?? -1;
    const list = new StructBytes(24);
    answers.forEach(({ cookie, code }, index) => {
      list.u32(index * 8, cookie).u32(index * 8 + 4, code);
    });
    return {
      request: 0,
      argument: 0,
      data: [{ offset: 0, bytes: list.bytes }],
      file: { key, action: 'write' as const, lengthBytes: length },
      text: `${length} bytes to queue ${key}: ${answers.map(({ cookie, code }) => `${cookie}/${code}`).join(' ')}`,
    };
  },
});

export const faultClose = defineCommand({
  name: 'fault queue close',
  weight: 0.3,
  args: fc.record({ queue: fc.nat(3) }),
  draft: ({ queue }, state) => {
    const key = pickFrom(state.queues, queue) ?? -1;
    return {
      request: 0,
      argument: 0,
      file: { key, action: 'close' as const, lengthBytes: 0 },
      text: `queue ${key}`,
    };
  },
  learn: (_args, { call }, state) => {
    const index = state.queues.indexOf(call.file?.key ?? -1);
    if (index >= 0) state.queues.splice(index, 1);
  },
});

export const faultCommands: readonly Command<never>[] = [
  faultQueueAlloc,
  faultRead,
  faultWrite,
  faultClose,
] as readonly unknown[] as readonly Command<never>[];
