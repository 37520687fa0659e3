// The whole of it over real memory objects, a real arena and the real SIGBUS guard.
import { describe, expect, test } from 'vitest';
import { GiB, type Iova, MiB } from '../../base/units.js';
import { createMemoryOs } from '../../os/memory.js';
import { F_SEAL_SHRINK } from '../../os/memory-types.js';
import { loadNative } from '../../os/native.js';
import { ManualClock } from '../testing/manual-clock.js';
import type { DmaAccount, DmaMapping } from '../types.js';
import { DeviceIommu, faultReasonOf } from './device-iommu.js';
import { createSoftIommu } from './soft-iommu.js';

const memory = createMemoryOs(loadNative());
const at = (value: number) => value as Iova;

function setUp() {
  const arena = memory.createArena(16 * MiB);
  const layout = { windowBytes: 2 * MiB };
  const clock = new ManualClock();
  const tableBytes = 4 * MiB;
  const iommu = createSoftIommu({ arena, memory, clock, layout, pasidBits: 8, tableBytes });
  const device = new DeviceIommu(iommu.handles);
  device.park();
  const account: DmaAccount = {
    placedBytesMax: GiB,
    tablePagesMax: 100,
    placedBytes: 0,
    tablePages: 0,
  };
  return { arena, iommu, device, account, bytes: new Uint8Array(arena.buffer) };
}

describe('client memory for real', () => {
  test('the device reaches the bytes of the client, and the client those of the device', async () => {
    const { iommu, device, account, bytes } = setUp();
    const space = iommu.spaces.open({ pasid: 200 });
    const fd = memory.create('lessor-test', 5 * MiB);
    memory.addSeals(fd, F_SEAL_SHRINK);
    using client = memory.map(fd, { offsetBytes: 0, lengthBytes: 5 * MiB, writable: true });
    const view = new Uint8Array(client.buffer);
    // Over three extents, the last one clipped.
    const mapping = await space.map(
      { fd, offsetBytes: MiB },
      at(0x7000_0000),
      4 * MiB,
      'read-write',
      account,
    );
    fd.close();
    for (const offset of [0, MiB - 1, MiB, 3 * MiB - 1, 3 * MiB, 4 * MiB - 1]) {
      view[MiB + offset] = offset % 251;
      const arenaOffset = device.translate(200, 0x7000_0000 + offset, 'read');
      expect(bytes[arenaOffset]).toBe(offset % 251);
      bytes[device.translate(200, 0x7000_0000 + offset, 'write')] = 99;
      expect(view[MiB + offset]).toBe(99);
    }
    await space.unmap(mapping);
    await space[Symbol.asyncDispose]();
    expect([account.placedBytes, account.tablePages, iommu.placedBytes]).toEqual([0, 0, 0]);
  });

  test('what is no memfd is refused, and a descriptor for reading serves reading alone', async () => {
    const { iommu, device, account } = setUp();
    const space = iommu.spaces.open({ pasid: undefined });
    using owner = memory.create('lessor-test', 4096);
    using reading = memory.reopenReadOnly(owner);
    const request = { fd: reading, offsetBytes: 0 };
    await expect(space.map(request, at(0), 4096, 'write', account)).rejects.toMatchObject({
      code: 'MEMORY_READ_ONLY',
    });
    await space.map(request, at(0), 4096, 'read', account);
    expect(faultReasonOf(device.translate(undefined, 0, 'write'))).toBe('no permission');
    await space[Symbol.asyncDispose]();
    expect(account.placedBytes).toBe(0);
  });

  test('truncated memory reads zero, and its lease is told', async () => {
    const { iommu, device, account, bytes } = setUp();
    const space = iommu.spaces.open({ pasid: 1 });
    const gone: DmaMapping[] = [];
    space.onMemoryGone((mapping) => gone.push(mapping));
    using fd = memory.create('lessor-test', 8192);
    using other = memory.create('lessor-test', 4096);
    const hit = await space.map({ fd, offsetBytes: 4096 }, at(0), 4096, 'read', account);
    await space.map({ fd: other, offsetBytes: 0 }, at(4096), 4096, 'read', account);
    iommu.iommufd.checkFaults();
    memory.truncate(fd, 0);
    expect(bytes[device.translate(1, 0, 'read')]).toBe(0);
    expect(bytes[device.translate(1, 4096, 'read')]).toBe(0);
    iommu.iommufd.checkFaults();
    iommu.iommufd.checkFaults();
    expect(gone).toEqual([hit]);
    await space[Symbol.asyncDispose]();
    expect(account.placedBytes).toBe(0);
  });
});
