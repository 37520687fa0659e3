import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Errno, errnoNumber } from '../../base/errno.js';
import { OsError } from '../../base/errors.js';
import { thrown } from '../../iommu/testing/errno-of.js';
import { FakeIoctl } from '../../iommu/testing/fake-ioctl.js';
import type { Fd } from '../../os/fd.js';
import * as uapi from '../../uapi/vfio.js';
import { type OpenGroup, openGroup } from './group.js';
import { heldByHost, type IommuGroup, readIommuGroup } from './group-members.js';
import { openDevice } from './open-device.js';

const address = '0000:00:05.0';

/** A kernel with the nodes of VFIO. */
class FakeVfio extends FakeIoctl {
  readonly refused = new Map<string, Errno>();

  override open(path: string, flags: number): Fd {
    const errno = this.refused.get(path);
    if (errno !== undefined) throw new OsError(errno, 'open', path);
    return super.open(path, flags);
  }
}

let os: FakeVfio;

function group(driver: string | undefined, ...others: IommuGroup['members']): IommuGroup {
  return { number: 7, members: [{ address, driver }, ...others] };
}

function open(of: IommuGroup = group('vfio-pci')): OpenGroup {
  return openGroup({ os, address, group: of });
}

beforeEach(() => {
  os = new FakeVfio();
  os.on(uapi.VFIO_GROUP_GET_STATUS, (bytes) => {
    uapi.vfioGroupStatus.encodeAt({ argsz: 8, flags: uapi.VFIO_GROUP_FLAGS_VIABLE }, bytes, 0);
  });
  os.on(uapi.VFIO_GET_API_VERSION, () => 0);
  os.on(uapi.VFIO_CHECK_EXTENSION, () => 1);
  os.on(uapi.VFIO_GROUP_SET_CONTAINER, () => 0);
  os.on(uapi.VFIO_SET_IOMMU, () => 0);
  os.on(uapi.VFIO_GROUP_GET_DEVICE_FD, () => os.files.create('other', 0).release());
});

describe('openGroup', () => {
  it('gives the group a container with a type1v2 IOMMU, and then asks for the function', () => {
    const { deviceFd, groupFd, containerFd } = open();
    expect(os.opened).toEqual([
      { path: '/dev/vfio/7', flags: 2 },
      { path: '/dev/vfio/vfio', flags: 2 },
    ]);
    const sent = os.calls.map(({ fd, request, value }) => [fd, request, value]);
    expect(sent).toEqual([
      [groupFd.number, uapi.VFIO_GROUP_GET_STATUS, undefined],
      [containerFd.number, uapi.VFIO_GET_API_VERSION, 0],
      [containerFd.number, uapi.VFIO_CHECK_EXTENSION, uapi.VFIO_TYPE1v2_IOMMU],
      [groupFd.number, uapi.VFIO_GROUP_SET_CONTAINER, undefined],
      [containerFd.number, uapi.VFIO_SET_IOMMU, uapi.VFIO_TYPE1v2_IOMMU],
      [groupFd.number, uapi.VFIO_GROUP_GET_DEVICE_FD, undefined],
    ]);
    const { bytes } = os.last(uapi.VFIO_GROUP_SET_CONTAINER);
    expect(Buffer.from(bytes).readInt32LE()).toBe(containerFd.number);
    const name = os.last(uapi.VFIO_GROUP_GET_DEVICE_FD).bytes;
    expect(Buffer.from(name).toString()).toBe('0000:00:05.0\0');
    for (const fd of [deviceFd, groupFd, containerFd]) fd.close();
    expect(os.files.openCount).toBe(0);
  });

  it.each([
    ['VFIO_GROUP_GET_STATUS', uapi.VFIO_GROUP_GET_STATUS, 'ENODEV', 'ENODEV'],
    ['VFIO_GET_API_VERSION', uapi.VFIO_GET_API_VERSION, 'EINVAL', 'EINVAL'],
    ['VFIO_CHECK_EXTENSION', uapi.VFIO_CHECK_EXTENSION, 'EINVAL', 'EINVAL'],
    ['VFIO_GROUP_SET_CONTAINER', uapi.VFIO_GROUP_SET_CONTAINER, 'EINVAL', 'EINVAL'],
    ['VFIO_GROUP_SET_CONTAINER', uapi.VFIO_GROUP_SET_CONTAINER, 'EPERM', 'FUNCTION_BUSY'],
    ['VFIO_GROUP_SET_CONTAINER', uapi.VFIO_GROUP_SET_CONTAINER, 'EBUSY', 'FUNCTION_BUSY'],
    ['VFIO_SET_IOMMU', uapi.VFIO_SET_IOMMU, 'ENODEV', 'ENODEV'],
    ['VFIO_SET_IOMMU', uapi.VFIO_SET_IOMMU, 'EPERM', 'UNSUPPORTED'],
    ['VFIO_GROUP_GET_DEVICE_FD', uapi.VFIO_GROUP_GET_DEVICE_FD, 'EIO', 'EIO'],
    ['VFIO_GROUP_GET_DEVICE_FD', uapi.VFIO_GROUP_GET_DEVICE_FD, 'ENODEV', 'FUNCTION_UNBOUND'],
  ] as const)('leaves nothing open when %s fails (%i, %s: %s)', (name, request, errno, says) => {
    os.fail(request, errno);
    const error = thrown(open);
    expect(error).toMatchObject(says === errno ? { errno, syscall: name } : { code: says });
    expect(os.files.openCount).toBe(0);
  });

  it.each([
    ['/dev/vfio/7', 'EACCES', 'vfio-pci', 'DENIED'],
    ['/dev/vfio/7', 'EBUSY', 'vfio-pci', 'FUNCTION_BUSY'],
    ['/dev/vfio/7', 'ENOENT', 'vfio-pci', 'UNSUPPORTED'],
    ['/dev/vfio/7', 'ENOENT', 'e1000e', 'FUNCTION_UNBOUND'],
    ['/dev/vfio/7', 'ENOENT', undefined, 'FUNCTION_UNBOUND'],
    ['/dev/vfio/vfio', 'ENOENT', 'vfio-pci', 'UNSUPPORTED'],
    ['/dev/vfio/vfio', 'EACCES', 'vfio-pci', 'DENIED'],
  ] as const)('says why %s cannot be opened: %s with %s', (path, errno, driver, code) => {
    os.refused.set(path, errno);
    expect(thrown(() => open(group(driver)))).toMatchObject({ code });
    expect(os.files.openCount).toBe(0);
  });

  it('passes on what it has no words for', () => {
    os.refused.set('/dev/vfio/7', 'ENFILE');
    expect(thrown(open)).toMatchObject({ name: 'OsError', errno: 'ENFILE' });
  });

  it('names who of the group is with the host', () => {
    os.on(uapi.VFIO_GROUP_GET_STATUS, () => 0);
    const others = Array.from({ length: 10 }, (_, slot) => {
      return { address: `0000:01:0${slot}.0`, driver: 'e1000e' };
    });
    const port = { address: '0000:00:1c.0', driver: 'pcieport' };
    const error = thrown(() => open(group('vfio-pci', port, ...others))) as Error;
    expect(error).toMatchObject({ code: 'GROUP_NOT_VIABLE' });
    expect(error.message).toContain('group 7 with functions that the host uses: 0000:01:00.0 (e10');
    expect(error.message).toContain(' and 2 more');
    expect(error.message).not.toContain('pcieport');
    expect(thrown(open)).toMatchObject({ code: 'FUNCTION_BUSY' });
    expect(os.files.openCount).toBe(0);
  });

  it('wants the version and the IOMMU that it was written for', () => {
    os.on(uapi.VFIO_GET_API_VERSION, () => 1);
    expect(thrown(open)).toMatchObject({ code: 'UNSUPPORTED' });
    os.on(uapi.VFIO_GET_API_VERSION, () => 0);
    os.on(uapi.VFIO_CHECK_EXTENSION, () => 0);
    expect(thrown(open)).toMatchObject({ code: 'UNSUPPORTED' });
    expect(os.files.openCount).toBe(0);
  });
});

describe('a group in sysfs', () => {
  let root: string;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'lessor-sysfs-'));
  });

  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  function add(name: string, number: string | undefined, driver?: string): void {
    const device = `${root}/bus/pci/devices/${name}`;
    mkdirSync(device, { recursive: true });
    if (driver !== undefined) symlinkSync(`../../drivers/${driver}`, `${device}/driver`);
    if (number === undefined) return;
    const folder = `${root}/kernel/iommu_groups/${number}/devices`;
    mkdirSync(folder, { recursive: true });
    symlinkSync(`../../../kernel/iommu_groups/${number}`, `${device}/iommu_group`);
    symlinkSync(device, `${folder}/${name}`);
  }

  it('has members with drivers', () => {
    add(address, '3', 'vfio-pci');
    add('0000:00:05.1', '3', 'snd_hda_intel');
    add('0000:00:05.2', '3');
    add('0000:00:05.3', '3', 'mlx5_vfio_pci');
    add('0000:00:06.0', '4', 'e1000e');
    const found = readIommuGroup(address, root);
    expect(found).toEqual({
      number: 3,
      members: [
        { address, driver: 'vfio-pci' },
        { address: '0000:00:05.1', driver: 'snd_hda_intel' },
        { address: '0000:00:05.2', driver: undefined },
        { address: '0000:00:05.3', driver: 'mlx5_vfio_pci' },
      ],
    });
    expect(heldByHost(found)).toEqual([{ address: '0000:00:05.1', driver: 'snd_hda_intel' }]);
  });

  it('is missing without an IOMMU, and without the function', () => {
    add(address, undefined);
    const noIommu = thrown(() => readIommuGroup(address, root));
    expect(noIommu).toMatchObject({ code: 'UNSUPPORTED', hint: expect.stringContaining('IOMMU') });
    const code = 'FUNCTION_GONE';
    expect(thrown(() => readIommuGroup('0000:00:09.0', root))).toMatchObject({ code });
    symlinkSync('../not-a-number', `${root}/bus/pci/devices/${address}/iommu_group`);
    expect(thrown(() => readIommuGroup(address, root))).toMatchObject({ code: 'UNSUPPORTED' });
  });

  it.each([1, 2])('leaves nothing open when copy %i of a descriptor cannot be had', async (nth) => {
    add(address, '7', 'vfio-pci');
    const duplicate = os.files.duplicate.bind(os.files);
    let count = 0;
    os.files.duplicate = (number) => (++count === nth ? -errnoNumber('EMFILE') : duplicate(number));
    const opened = openDevice({ os, address, way: 'container', sysfs: root });
    await expect(opened).rejects.toMatchObject({ errno: 'EMFILE' });
    expect(os.files.openCount).toBe(0);
  });
});
