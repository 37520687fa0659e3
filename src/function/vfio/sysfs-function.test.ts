import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { limits } from '../../base/limits.js';
import { nodeHolders } from './node-holders.js';
import { namesIn, readBounded } from './sysfs-files.js';
import { functionAddresses, readFunctionFacts, vfioNode } from './sysfs-function.js';
import { FakeSysfs } from './testing/fake-sysfs.js';

const address = '0000:00:05.0';
let sysfs: FakeSysfs;

beforeEach(() => {
  sysfs = new FakeSysfs([{ address, group: 3, driver: 'vfio-pci' }]);
});
afterEach(() => sysfs[Symbol.dispose]());

const attribute = (name: string, text: string): void =>
  sysfs.file(`bus/pci/devices/${address}/${name}`, text);

test('says what sysfs says', () => {
  attribute('numa_node', '1\n');
  attribute('sriov_numvfs', '2\n');
  sysfs.link(`bus/pci/devices/${address}/physfn`, '../0000:00:04.0');
  expect(readFunctionFacts(sysfs.files, address)).toEqual({
    address,
    vendorId: 0x1234,
    deviceId: 0x11e8,
    classCode: 0x00ff00,
    isBridge: false,
    driver: 'vfio-pci',
    driverOverride: undefined,
    group: { number: 3, members: [{ address, driver: 'vfio-pci' }] },
    vfioName: 'vfio0',
    hasCharacterDevice: true,
    numaNode: 1,
    powerState: 'D0',
    physicalFunction: '0000:00:04.0',
    virtualFunctionCount: 2,
    isBootDisplay: false,
  });
  expect(functionAddresses(sysfs.files)).toEqual([address]);
  expect(readFunctionFacts(sysfs.files, '0000:00:06.0')).toBeUndefined();
});

describe('does not believe', () => {
  test.each([
    ['vendor', '0x12345\n', 'vendorId'],
    ['device', '0x\n', 'deviceId'],
    ['class', '-1\n', 'classCode'],
    ['numa_node', '1e3\n', 'numaNode'],
    ['driver_override', '../../x\n', 'driverOverride'],
    ['power_state', 'D\u0000\u0007\n', 'powerState'],
  ] as const)('%s %j', (name, text, field) => {
    attribute(name, text);
    expect(readFunctionFacts(sysfs.files, address)?.[field]).toBeUndefined();
  });

  test('a group or a node by another name', () => {
    sysfs.link(`bus/pci/devices/${address}/iommu_group`, '/etc/passwd');
    sysfs.file(`bus/pci/devices/${address}/vfio-dev/..vfio/dev`, '');
    expect(readFunctionFacts(sysfs.files, address)?.group).toBeUndefined();
    expect(readFunctionFacts(sysfs.files, address)?.vfioName).toBe('vfio0');
  });

  test('anything, and never throws', () => {
    const names = ['vendor', 'class', 'driver_override', 'numa_node', 'sriov_numvfs'];
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.string(), (name, text) => {
        attribute(name, text);
        const facts = readFunctionFacts(sysfs.files, address);
        expect(facts?.virtualFunctionCount).toBeGreaterThanOrEqual(0);
        expect(facts?.driverOverride ?? 'none').toMatch(/^[\w.:-]{1,64}$/);
      }),
      { numRuns: 200 },
    );
  });
});

test('reads as much as an attribute has, and no more', () => {
  const path = join(sysfs.root, 'long');
  writeFileSync(path, 'x'.repeat(limits.sysfsAttributeBytesMax));
  expect(sysfs.files.text('long')).toHaveLength(limits.sysfsAttributeBytesMax);
  writeFileSync(path, 'x'.repeat(limits.sysfsAttributeBytesMax + 1));
  expect(sysfs.files.text('long')).toBeUndefined();
  expect(readBounded(join(sysfs.root, 'none'), 1)).toBeUndefined();
  expect(readBounded('/dev/zero', limits.procTableBytesMax)).toBeUndefined();
});

test('looks at so many names, and says when there are more', () => {
  const folder = join(sysfs.root, 'many');
  mkdirSync(folder);
  for (let index = 0; index < limits.sysfsEntriesMax; index += 1) {
    symlinkSync('x', join(folder, `${index}`));
  }
  expect(namesIn(folder)).toHaveLength(limits.sysfsEntriesMax);
  symlinkSync('x', join(folder, 'more'));
  expect(() => namesIn(folder)).toThrow(expect.objectContaining({ code: 'SYSTEM_FAILED' }));
});

test('the node is the function’s own, or its group’s', () => {
  const node = (): string | undefined => {
    const facts = readFunctionFacts(sysfs.files, address);
    return facts && vfioNode(facts);
  };
  expect(node()).toBe('/dev/vfio/devices/vfio0');
  sysfs.link(`bus/pci/devices/${address}/vfio-dev/vfio0/dev`, 'nothing');
  expect(node()).toBe('/dev/vfio/3');
  sysfs.link(`bus/pci/devices/${address}/driver`, '../../drivers/e1000e');
  expect(node()).toBeUndefined();
});

test('who has a file open is found', () => {
  const path = join(sysfs.root, 'held');
  sysfs.file('proc/17/comm', 'no\u0007de\n');
  sysfs.link('proc/17/fd/4', path);
  sysfs.file('proc/18/comm', 'other\n');
  sysfs.link('proc/18/fd/4', `${path}2`);
  sysfs.link('proc/self/fd/4', path);
  expect(nodeHolders([path], join(sysfs.root, 'proc'))).toEqual([{ pid: 17, name: 'no?de' }]);
});
