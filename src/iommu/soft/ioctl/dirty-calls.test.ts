// Dirty tracking by bytes: its bitmap lies in memory of the caller.
import { expect, test } from 'vitest';
import { MiB } from '../../../base/units.js';
import { iommuHwptGetDirtyBitmap, iommuHwptSetDirtyTracking } from '../../../uapi/iommufd-hwpt.js';
import { createSoftCaller } from '../../testing/soft-caller.js';

const trackedFlag = 2;
const PAGE = 4096n;

function setUp() {
  const caller = createSoftCaller();
  const { iommufd } = caller;
  const unit = caller.createUnit({ hasDirtyTracking: true });
  const device = iommufd.bind(unit);
  const ioasId = iommufd.ioasAlloc();
  const hwpt_id = iommufd.hwptAlloc({ flags: trackedFlag, devId: device.id, ptId: ioasId });
  device.attach(hwpt_id);
  const fd = caller.memory.create(MiB);
  iommufd.ioasMapFile({ flags: 7, ioasId, fd, start: 0n, length: 16n * PAGE, iova: 0n });
  const write = (page: number) => {
    return caller.translator(unit).translate(undefined, page * 4096, 'write') >= 0;
  };
  return { ...caller, hwpt_id, write, range: { hwpt_id, length: 16n * PAGE, page_size: PAGE } };
}

test('bits are set in memory of the caller, and nothing is written back', () => {
  const { call, userMemory, hwpt_id, write, range } = setUp();
  expect(call(iommuHwptSetDirtyTracking, { hwpt_id, flags: 1 }).result).toBe(0);
  expect([write(1), write(9)]).toEqual([true, true]);
  const bitmap = Uint8Array.of(0x80, 0, 0x55);
  const request = { ...range, data: userMemory.place(bitmap) };
  expect(call(iommuHwptGetDirtyBitmap, request)).toMatchObject({ result: 0, fields: request });
  expect(bitmap).toEqual(Uint8Array.of(0x82, 2, 0x55));
});

test('a bitmap that is not there is no error, and what was written is forgotten', () => {
  const { call, userMemory, hwpt_id, write, range } = setUp();
  call(iommuHwptSetDirtyTracking, { hwpt_id, flags: 1 });
  write(1);
  expect(call(iommuHwptGetDirtyBitmap, { ...range, data: 0n }).result).toBe(0);
  const bitmap = new Uint8Array(2);
  call(iommuHwptGetDirtyBitmap, { ...range, data: userMemory.place(bitmap) });
  expect(bitmap).toEqual(Uint8Array.of(0, 0));
});

test('a reserved field counts for the bitmap and not for the switch', () => {
  const { call, hwpt_id, range } = setUp();
  expect(call(iommuHwptSetDirtyTracking, { hwpt_id, __reserved: 1 }).result).toBe(0);
  const reserved = { ...range, hwpt_id: 99, __reserved: 1 };
  expect(call(iommuHwptGetDirtyBitmap, reserved).result).toBe('EOPNOTSUPP');
  expect(call(iommuHwptGetDirtyBitmap, { ...reserved, __reserved: 0 }).result).toBe('ENOENT');
});
