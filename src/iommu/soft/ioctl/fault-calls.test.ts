// IOMMU_FAULT_QUEUE_ALLOC by bytes: an object and a descriptor, or neither.
import { expect, test } from 'vitest';
import { errnoOf } from '../../../base/errors.js';
import { iommuFaultAlloc } from '../../../uapi/iommufd-fault.js';
import { iommuDestroy } from '../../../uapi/iommufd-ioas.js';
import { IOMMU_FAULT_QUEUE_ALLOC } from '../../../uapi/iommufd-requests.js';
import { createSoftCaller } from '../../testing/soft-caller.js';

function errno(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return errnoOf(error);
  }
}

test('id and descriptor are written back; the file reads, answers and holds the object', () => {
  const { call, files } = createSoftCaller();
  files.add({ kind: 'fault queue', queue: undefined as never });
  const made = call(iommuFaultAlloc, {});
  expect(made).toMatchObject({ result: 0, fields: { out_fault_id: 1, out_fault_fd: 1 } });
  expect(files.read(1, 80)).toEqual(new Uint8Array());
  expect(files.isReadable(1)).toBe(false);
  expect(errno(() => files.read(1, 41))).toBe('ESPIPE');
  expect(errno(() => files.write(1, new Uint8Array(8)))).toBe('EINVAL');
  expect(call(iommuDestroy, { id: 1 }).result).toBe('EBUSY');
  files.close(1);
  expect(errno(() => files.read(1, 40))).toBe('EBADF');
  expect(errno(() => files.close(1))).toBe('EBADF');
  expect(call(iommuDestroy, { id: 1 }).result).toBe(0);
});

test('D3b neither stays when they cannot be written', () => {
  const { call, ioctl, files, userMemory } = createSoftCaller();
  const { bytes } = call(iommuFaultAlloc, { flags: 1 });
  bytes.fill(0, 4);
  expect(ioctl(IOMMU_FAULT_QUEUE_ALLOC, userMemory.place(bytes, false))).toBe('EFAULT');
  expect(files.get(0)).toBeUndefined();
  expect(call(iommuDestroy, { id: 1 }).result).toBe('ENOENT');
});

test('no object stays without room for its descriptor', () => {
  const { call, files, memory } = createSoftCaller();
  const fd = memory.create(4096);
  for (let count = 0; count < 1024; count++) files.add({ kind: 'memory', fd });
  expect(call(iommuFaultAlloc, {}).result).toBe('EMFILE');
  expect(call(iommuDestroy, { id: 1 }).result).toBe('ENOENT');
  files.close(7);
  expect(call(iommuFaultAlloc, {}).fields).toMatchObject({ out_fault_id: 1, out_fault_fd: 7 });
});

test('flags are refused before anything is made', () => {
  const { call, files } = createSoftCaller();
  expect(call(iommuFaultAlloc, { flags: 1, out_fault_fd: 9 })).toMatchObject({
    result: 'EOPNOTSUPP',
    fields: { out_fault_fd: 9 },
  });
  expect(files.get(0)).toBeUndefined();
});
