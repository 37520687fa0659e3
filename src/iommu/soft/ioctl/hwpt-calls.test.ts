// Calls by bytes about page tables of devices: data behind pointers, and what is written back.
import { describe, expect, test } from 'vitest';
import { iommuHwInfo } from '../../../uapi/iommufd-hw-info.js';
import { iommuHwptAlloc, iommuHwptInvalidate } from '../../../uapi/iommufd-hwpt.js';
import { iommuDestroy, iommuIoasAlloc } from '../../../uapi/iommufd-ioas.js';
import { IOMMU_HWPT_ALLOC, IOMMU_HWPT_INVALIDATE } from '../../../uapi/iommufd-requests.js';
import { iommuViommuAlloc } from '../../../uapi/iommufd-viommu.js';
import { createSoftCaller } from '../../testing/soft-caller.js';
import { fail } from '../objects.js';
import type { NestedInvalidation } from '../traits.js';

const parentFlag = 1;
const nestedType = 7;

/** Each entry is one byte; 9 is a bad one. */
function invalidate({ entries, entryLen, entryNum }: NestedInvalidation) {
  for (let done = 0; done < entryNum; done++) {
    const entry = readOrErrno(() => entries.slice(done * entryLen, done * entryLen + 1));
    if (typeof entry === 'string') return { handledCount: done, errno: 'EFAULT' as const };
    if (entry[0] === 9) return { handledCount: done, errno: 'EINVAL' as const };
  }
  return { handledCount: entryNum, errno: undefined };
}

function readOrErrno(read: () => Uint8Array): Uint8Array | string {
  try {
    return read();
  } catch {
    return 'EFAULT';
  }
}

function setUp() {
  const caller = createSoftCaller();
  const seen: Uint8Array[] = [];
  const unit = caller.createUnit({
    pasidBits: 20,
    hwptFlags: parentFlag,
    capabilities: 8n,
    hwInfo: { dataType: 5, data: Uint8Array.of(1, 2, 3, 4) },
    nest({ dataType, bytes }) {
      if (dataType !== nestedType) throw fail('EOPNOTSUPP', 'test', 'type');
      if (bytes.length > 8) throw fail('EINVAL', 'test', 'length');
      seen.push(bytes.slice(0, bytes.length));
      return { invalidate };
    },
  });
  const ioasId = caller.call(iommuIoasAlloc, {}).fields.out_ioas_id;
  const device = caller.iommufd.bind(unit);
  return { ...caller, unit, seen, ioasId, device };
}

function setUpNested() {
  const all = setUp();
  const { call, device, ioasId } = all;
  const own = { dev_id: device.id, pt_id: ioasId, flags: parentFlag };
  const parentId = call(iommuHwptAlloc, own).fields.out_hwpt_id;
  const nested = { dev_id: device.id, pt_id: parentId, data_type: nestedType };
  return { ...all, parentId, nested };
}

describe('IOMMU_HWPT_ALLOC', () => {
  test('the id is written back, also to a caller of the first shape', () => {
    const { call, ioctl, device, ioasId } = setUp();
    const first = call(iommuHwptAlloc, { dev_id: device.id, pt_id: ioasId });
    expect(first).toMatchObject({ result: 0, fields: { out_hwpt_id: 3, data_len: 0 } });
    const short = first.bytes.slice(0, 24);
    short.set([24]);
    expect(ioctl(IOMMU_HWPT_ALLOC, short)).toBe(0);
    expect(short[16]).toBe(4);
  });

  test('D3b nothing is allocated when the id cannot be written', () => {
    const { call, ioctl, userMemory, device, ioasId } = setUp();
    const { bytes } = call(iommuHwptAlloc, { dev_id: device.id, pt_id: ioasId });
    expect(ioctl(IOMMU_HWPT_ALLOC, userMemory.place(bytes, false))).toBe('EFAULT');
    expect(call(iommuDestroy, { id: 4 }).result).toBe('ENOENT');
    expect(call(iommuDestroy, { id: 3 }).result).toBe(0);
    expect(call(iommuDestroy, { id: ioasId }).result).toBe(0);
  });

  test('the first reserved field, then the length of the data, then ids; the second is free', () => {
    const { call, device, ioasId } = setUp();
    const good = { dev_id: device.id, pt_id: ioasId };
    const bad = { dev_id: 99, pt_id: 99, data_len: 4 };
    expect(call(iommuHwptAlloc, { ...bad, __reserved: 1 }).result).toBe('EOPNOTSUPP');
    expect(call(iommuHwptAlloc, bad).result).toBe('EINVAL');
    expect(call(iommuHwptAlloc, { ...bad, data_len: 0 }).result).toBe('ENOENT');
    expect(call(iommuHwptAlloc, { ...good, __reserved2: 1 }).result).toBe(0);
  });

  test('data is read only after everything before it was right', () => {
    const { call, seen, nested, userMemory, parentId } = setUpNested();
    const data_uptr = userMemory.place(Uint8Array.of(5, 6, 7));
    const far = { ...nested, data_len: 0xffff_ffff };
    expect(call(iommuHwptAlloc, { ...far, pt_id: 99 }).result).toBe('EINVAL');
    expect(call(iommuHwptAlloc, { ...far, data_type: 8 }).result).toBe('EOPNOTSUPP');
    expect(call(iommuHwptAlloc, far).result).toBe('EINVAL');
    expect(call(iommuHwptAlloc, { ...nested, data_len: 4, data_uptr }).result).toBe('EFAULT');
    expect(seen).toEqual([]);
    const made = call(iommuHwptAlloc, { ...nested, data_len: 3, data_uptr });
    expect(made).toMatchObject({ result: 0, fields: { out_hwpt_id: parentId + 1 } });
    expect(seen).toEqual([Uint8Array.of(5, 6, 7)]);
  });
});

describe('IOMMU_GET_HW_INFO', () => {
  test('the first bytes, zeros behind them, and the full length', () => {
    const { call, device, userMemory } = setUp();
    const room = new Uint8Array(8).fill(0xee);
    const data_uptr = userMemory.place(room);
    const request = { dev_id: device.id, data_uptr };
    const some = call(iommuHwInfo, { ...request, data_len: 3 });
    expect(some).toMatchObject({
      result: 0,
      fields: { data_len: 4, data_type: 5, out_max_pasid_log2: 20, out_capabilities: 8n },
    });
    expect([...room]).toEqual([1, 2, 3, 0xee, 0xee, 0xee, 0xee, 0xee]);
    expect(call(iommuHwInfo, { ...request, data_len: 7 }).fields.data_len).toBe(4);
    expect([...room]).toEqual([1, 2, 3, 4, 0, 0, 0, 0xee]);
  });

  test('a buffer is touched only as far as it is claimed', () => {
    const { call, device, userMemory } = setUp();
    const room = new Uint8Array(8).fill(0xee);
    const data_uptr = userMemory.place(room);
    expect(call(iommuHwInfo, { dev_id: device.id }).result).toBe(0);
    expect(call(iommuHwInfo, { dev_id: device.id, data_len: 1 }).result).toBe('EFAULT');
    const far = { dev_id: device.id, data_uptr, data_len: 9, data_type: 77 };
    expect(call(iommuHwInfo, far)).toMatchObject({ result: 'EFAULT', fields: far });
    expect([...room]).toEqual([1, 2, 3, 4, 0, 0, 0, 0]);
  });

  test('flags and reserved bytes before the id; the type counts with its flag alone', () => {
    const { call, device } = setUp();
    for (const bad of [{ flags: 2 }, { __reserved: [0, 0, 1] }, { __reserved: [1, 0, 0] }]) {
      expect(call(iommuHwInfo, { dev_id: 99, ...bad }).result).toBe('EOPNOTSUPP');
    }
    expect(call(iommuHwInfo, { dev_id: 99, flags: 1 }).result).toBe('ENOENT');
    const typed = { dev_id: device.id, data_type: 6 };
    expect(call(iommuHwInfo, typed)).toMatchObject({ result: 0, fields: { data_type: 5 } });
    const refused = call(iommuHwInfo, { ...typed, flags: 1 });
    expect(refused).toMatchObject({ result: 'EOPNOTSUPP', fields: { data_type: 6 } });
  });
});

describe('IOMMU_HWPT_INVALIDATE', () => {
  function setUpTable() {
    const all = setUpNested();
    const { call, nested, userMemory } = all;
    const data_uptr = userMemory.place(new Uint8Array(8));
    const made = call(iommuHwptAlloc, { ...nested, data_len: 8, data_uptr });
    const entries = new Uint8Array(12);
    const table = {
      hwpt_id: made.fields.out_hwpt_id,
      data_uptr: userMemory.place(entries),
      entry_len: 4,
      entry_num: 3,
    };
    return { ...all, entries, table };
  }

  test('how many entries were done is written back, with an error and without', () => {
    const { call, entries, table } = setUpTable();
    const done = call(iommuHwptInvalidate, table);
    expect(done).toMatchObject({ result: 0, fields: table });
    entries[8] = 9;
    const bad = call(iommuHwptInvalidate, table);
    expect(bad).toMatchObject({ result: 'EINVAL', fields: { ...table, entry_num: 2 } });
    entries[8] = 0;
    const far = call(iommuHwptInvalidate, { ...table, entry_num: 2 ** 19 });
    expect(far).toMatchObject({ result: 'EFAULT', fields: { entry_num: 3 } });
  });

  test('none were done when it is refused before', () => {
    const { call, table, parentId } = setUpTable();
    const rows: [object, string][] = [
      [{ __reserved: 1, hwpt_id: 99 }, 'EOPNOTSUPP'],
      [{ data_uptr: 0n, hwpt_id: 99 }, 'EINVAL'],
      [{ entry_len: 0, hwpt_id: 99 }, 'EINVAL'],
      [{ entry_len: 4097, hwpt_id: 99 }, 'EINVAL'],
      [{ entry_num: 2 ** 19 + 1, hwpt_id: 99 }, 'EINVAL'],
      [{ hwpt_id: 99 }, 'ENOENT'],
      [{ hwpt_id: parentId }, 'EINVAL'],
    ];
    for (const [change, errno] of rows) {
      const refused = call(iommuHwptInvalidate, { ...table, ...change });
      expect(refused).toMatchObject({ result: errno, fields: { entry_num: 0 } });
    }
  });

  test('EFAULT of the count takes the place of any other errno', () => {
    const { call, ioctl, table, userMemory } = setUpTable();
    const { bytes } = call(iommuHwptInvalidate, { ...table, hwpt_id: 99, entry_num: 1 });
    expect(ioctl(IOMMU_HWPT_INVALIDATE, userMemory.place(bytes, false))).toBe('EFAULT');
  });

  test('no entries: only the table is looked for', () => {
    const { call, table } = setUpTable();
    const none = { ...table, entry_num: 0, entry_len: 0, data_uptr: 0n };
    expect(call(iommuHwptInvalidate, none).result).toBe(0);
    expect(call(iommuHwptInvalidate, { ...none, hwpt_id: 99 }).result).toBe('ENOENT');
  });
});

test('a virtual IOMMU: flags and type, then the device, then never', () => {
  const { call, device } = setUp();
  const good = { type: 1, dev_id: device.id };
  expect(call(iommuViommuAlloc, good).result).toBe('EOPNOTSUPP');
  expect(call(iommuViommuAlloc, { ...good, dev_id: 99 }).result).toBe('ENOENT');
  expect(call(iommuViommuAlloc, { ...good, dev_id: 99, type: 0 }).result).toBe('EOPNOTSUPP');
  expect(call(iommuViommuAlloc, { ...good, dev_id: 99, flags: 1 }).result).toBe('EOPNOTSUPP');
});
