// Calls about virtual IOMMUs: known, and refused as on a device without any.
import { expect, test } from 'vitest';
import { iommuIoasNoiommuGetPa } from '../../../uapi/iommufd-ioas.js';
import {
  iommuHwQueueAlloc,
  iommuVdeviceAlloc,
  iommuVeventqAlloc,
} from '../../../uapi/iommufd-viommu.js';
import { u64Max } from '../../requests.js';
import { createSoftCaller } from '../../testing/soft-caller.js';

const { call } = createSoftCaller();

test('no id is one of a virtual IOMMU', () => {
  call(iommuVdeviceAlloc, {});
  expect(call(iommuVdeviceAlloc, { viommu_id: 1, dev_id: 1 }).result).toBe('ENOENT');
});

test('an event queue: flags, reserved and type before the depth before the id', () => {
  const good = { type: 1, veventq_depth: 2 ** 19 };
  expect(call(iommuVeventqAlloc, good).result).toBe('ENOENT');
  for (const bad of [{ flags: 1 }, { __reserved: 1 }, { type: 0 }]) {
    const request = { ...good, veventq_depth: 0, ...bad };
    expect(call(iommuVeventqAlloc, request).result).toBe('EOPNOTSUPP');
  }
  for (const veventq_depth of [0, 2 ** 19 + 1, 2 ** 32 - 1]) {
    expect(call(iommuVeventqAlloc, { ...good, veventq_depth }).result).toBe('EINVAL');
  }
});

test('a hardware queue: flags and type, the length, the overflow, the id', () => {
  const good = { type: 1, length: 1n, nesting_parent_iova: u64Max };
  expect(call(iommuHwQueueAlloc, good).result).toBe('ENOENT');
  expect(call(iommuHwQueueAlloc, { ...good, type: 0, length: 0n }).result).toBe('EOPNOTSUPP');
  expect(call(iommuHwQueueAlloc, { ...good, flags: 2, length: 0n }).result).toBe('EOPNOTSUPP');
  expect(call(iommuHwQueueAlloc, { ...good, length: 0n }).result).toBe('EINVAL');
  expect(call(iommuHwQueueAlloc, { ...good, length: 2n }).result).toBe('EOVERFLOW');
});

test('no device is without an IOMMU', () => {
  expect(call(iommuIoasNoiommuGetPa, { ioas_id: 1, length: 1n }).result).toBe('EOPNOTSUPP');
});
