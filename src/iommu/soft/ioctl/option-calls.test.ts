// Options and the IOAS of the container by bytes: what is written back, and reserved fields.
import { expect, test } from 'vitest';
import { iommuIoasChangeProcess, iommuOption, iommuVfioIoas } from '../../../uapi/iommufd-ioas.js';
import { IOMMU_OPTION } from '../../../uapi/iommufd-requests.js';
import { createSoftCaller } from '../../testing/soft-caller.js';

const hugePages = 1;
const get = 1;

test('an option writes its value back, and nothing else', () => {
  const { call, ioctl, iommufd, userMemory } = createSoftCaller();
  const object_id = iommufd.ioasAlloc();
  const request = { option_id: hugePages, object_id };
  expect(call(iommuOption, { ...request, op: get, val64: 7n })).toMatchObject({
    result: 0,
    fields: { ...request, val64: 1n },
  });
  expect(call(iommuOption, { ...request, val64: 0n })).toMatchObject({ fields: { val64: 0n } });
  expect(call(iommuOption, { ...request, op: get, val64: 7n }).fields.val64).toBe(0n);
  const refused = call(iommuOption, { ...request, op: 2, val64: 7n });
  expect(refused).toMatchObject({ result: 'EOPNOTSUPP', fields: { val64: 7n } });
  const place = userMemory.place(refused.bytes.fill(get, 8, 9), false);
  expect(ioctl(IOMMU_OPTION, place)).toBe('EFAULT');
});

test('a reserved field comes before the object', () => {
  const { call } = createSoftCaller();
  const option = { option_id: hugePages, object_id: 99 };
  expect(call(iommuOption, { ...option, __reserved: 1 }).result).toBe('EOPNOTSUPP');
  expect(call(iommuOption, option).result).toBe('ENOENT');
  const set = { op: 1, ioas_id: 99 };
  expect(call(iommuVfioIoas, { ...set, __reserved: 1 }).result).toBe('EOPNOTSUPP');
  expect(call(iommuVfioIoas, set).result).toBe('ENOENT');
  expect(call(iommuIoasChangeProcess, { __reserved: 1 }).result).toBe('EOPNOTSUPP');
  expect(call(iommuIoasChangeProcess, {}).result).toBe(0);
});

test('the IOAS of the container is written back by a get alone', () => {
  const { call, iommufd } = createSoftCaller();
  const ioas_id = iommufd.ioasAlloc();
  expect(call(iommuVfioIoas, { op: 0, ioas_id: 77 })).toMatchObject({
    result: 'ENODEV',
    fields: { ioas_id: 77 },
  });
  expect(call(iommuVfioIoas, { op: 1, ioas_id }).result).toBe(0);
  expect(call(iommuVfioIoas, { op: 0, ioas_id: 77 }).fields.ioas_id).toBe(ioas_id);
  const cleared = call(iommuVfioIoas, { op: 2, ioas_id: 77 });
  expect(cleared).toMatchObject({ result: 0, fields: { ioas_id: 77 } });
});
