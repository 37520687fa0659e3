import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { hostUses, parseMounts } from './host-use.js';
import { readFunctionFacts } from './sysfs-function.js';
import { FakeSysfs } from './testing/fake-sysfs.js';

const address = '0000:00:03.0';
const below = '../../devices/pci0000:00/0000:00:03.0';
let sysfs: FakeSysfs;

beforeEach(() => {
  sysfs = new FakeSysfs([
    { address, group: 1, driver: 'driver' },
    { address: '0000:00:04.0', group: 2, driver: 'driver' },
  ]);
});
afterEach(() => sysfs[Symbol.dispose]());

function uses(of = address): string[] {
  const facts = readFunctionFacts(sysfs.files, of);
  if (facts === undefined) throw new Error('no function');
  return hostUses(sysfs.files, sysfs.tables, facts);
}

function disk(name: string, where: string, number: string): void {
  sysfs.file(`devices/pci0000:00/${address}/${where}/dev`, `${number}\n`);
  sysfs.link(`class/block/${name}`, `${below}/${where}`);
}

describe('a disk', () => {
  const mount = { deviceNumber: '8:1', type: 'ext4', source: '/dev/root', at: '/' };

  test('that is mounted, swapped to, or part of another', () => {
    disk('sda', 'ata1/block/sda', '8:0');
    disk('sda1', 'ata1/block/sda/sda1', '8:1');
    expect(uses()).toEqual([]);
    sysfs.mounted = [mount];
    expect(uses()).toEqual(['disk sda1 is mounted on /']);
    // A file system of several devices has a number of its own.
    sysfs.mounted = [{ ...mount, deviceNumber: '0:42', type: 'btrfs', source: '/dev/sda1' }];
    expect(uses()).toEqual(['disk sda1 is mounted on /']);
    sysfs.mounted = [];
    sysfs.swapped = ['/dev/sda'];
    expect(uses()).toEqual(['disk sda is swapped to']);
    sysfs.swapped = [];
    sysfs.file(`devices/pci0000:00/${address}/ata1/block/sda/sda1/holders/dm-0`, '');
    expect(uses()).toEqual(['disk sda1 is part of dm-0']);
    expect(uses('0000:00:04.0')).toEqual([]);
  });

  test('that several paths lead to', () => {
    disk('nvme0c1n1', 'nvme/nvme1/nvme0c1n1', '0:0');
    sysfs.file('devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p2/dev', '8:1\n');
    sysfs.link(
      'class/block/nvme0n1p2',
      '../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p2',
    );
    sysfs.mounted = [mount];
    expect(uses()).toEqual(['disk nvme0n1p2 is mounted on /']);
  });
});

describe('a network interface', () => {
  beforeEach(() => {
    sysfs.file(`devices/pci0000:00/${address}/net/eth0/flags`, '0x1003\n');
    sysfs.link('class/net/eth0', `${below}/net/eth0`);
  });

  test('that is up and has an address', () => {
    expect(uses()).toEqual([]);
    sysfs.addressed = ['eth0'];
    expect(uses()).toEqual(['network interface eth0 is up and has an address']);
    sysfs.file(`devices/pci0000:00/${address}/net/eth0/flags`, '0x1002\n');
    expect(uses()).toEqual([]);
  });

  test('that carries another which has the address', () => {
    sysfs.link(`devices/pci0000:00/${address}/net/eth0/master`, '../../../virtual/net/br0');
    expect(uses()).toEqual(['network interface eth0 is up and carries br0']);
    sysfs.link(`devices/pci0000:00/${address}/net/eth0/master`, 'gone');
    sysfs.file(`devices/pci0000:00/${address}/net/eth0/upper_vlan5`, '');
    expect(uses()).toHaveLength(1);
  });
});

test('a folder that the host of this machine shares', () => {
  sysfs.file(`devices/pci0000:00/${address}/virtio0/mount_tag`, 'share\0');
  expect(uses()).toEqual([]);
  sysfs.mounted = [{ deviceNumber: '0:21', type: '9p', source: 'share', at: '/mnt' }];
  expect(uses()).toEqual(['shared folder share is mounted on /mnt']);
  sysfs.file('fs/virtiofs/4/tag', 'home\n');
  sysfs.link('fs/virtiofs/4/device', '../../../devices/virtio0');
  sysfs.mounted = [{ deviceNumber: '0:21', type: 'virtiofs', source: 'home', at: '/home' }];
  expect(uses()).toEqual(['shared folder home is mounted on /home']);
});

test('the console', () => {
  sysfs.file(`devices/pci0000:00/${address}/boot_vga`, '1\n');
  expect(uses()).toEqual(['it shows the console']);
});

test('mounts as the kernel writes them', () => {
  const text =
    '36 35 98:0 / /mnt rw,noatime master:1 - ext4 /dev/root rw,errors=continue\n' +
    'not a mount\n42 35 0:21 / /run rw - tmpfs fresh rw\n';
  expect(parseMounts(text)).toEqual([
    { deviceNumber: '98:0', type: 'ext4', source: '/dev/root', at: '/mnt' },
    { deviceNumber: '0:21', type: 'tmpfs', source: 'fresh', at: '/run' },
  ]);
});
