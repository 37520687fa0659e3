import { describe, expect, test } from 'vitest';
import { noDmaBufs } from '../function/vfio/dma-buf-offer.js';
import type { FunctionFacts } from '../function/vfio/sysfs-function.js';
import { type Check, reportOf } from './check.js';
import { functionChecks } from './checks-function.js';
import { compareVersions, machineChecks } from './checks-machine.js';
import type { FunctionSituation, HeldFacts, MachineFacts, NodeFacts } from './facts.js';
import { hugePagesIn, mayLockAll, memlockIn, nodeStatus, remappingIn } from './gather-machine.js';

const root = { mode: 0o20600, uid: 0, gid: 0 };
const opens = (path: string): NodeFacts => ({ path, owner: root, refused: undefined });
const absent = (path: string): NodeFacts => ({ path, owner: undefined, refused: undefined });
const works = { works: true } as const;
const no = (reason: string) => ({ works: false, reason }) as const;

const machine: MachineFacts = {
  nodeVersion: '20.19.0',
  kernelRelease: '7.3.4',
  uid: 0,
  pidfd: works,
  emulated: works,
  iommus: ['dmar0'],
  groupCount: 5,
  hasVfioPci: true,
  iommufd: opens('/dev/iommu'),
  container: opens('/dev/vfio/vfio'),
  interruptsRemapped: true,
  unsafeInterrupts: [],
  memlockBytes: Number.POSITIVE_INFINITY,
  mayLockAll: false,
  kernelLog: works,
  hugePages: { count: 8, sizeBytes: 2097152 },
};

const facts: FunctionFacts = {
  address: '0000:00:05.0',
  vendorId: 0x1234,
  deviceId: 0x11e8,
  classCode: 0xff00,
  isBridge: false,
  driver: 'vfio-pci',
  driverOverride: 'vfio-pci',
  group: { number: 3, members: [{ address: '0000:00:05.0', driver: 'vfio-pci' }] },
  vfioName: 'vfio0',
  hasCharacterDevice: true,
  numaNode: undefined,
  powerState: 'D0',
  physicalFunction: undefined,
  virtualFunctionCount: 0,
  isBootDisplay: false,
};

const held: HeldFacts = {
  way: 'iommufd',
  pasidBits: 20,
  lastIova: 2n ** 48n - 1n,
  canReset: true,
  vectorCount: 4,
  dmaBufs: {
    export: works,
    map: works,
    revoke: { works: true, feature: 14 },
    memory: { works: true, feature: 15 },
    strangers: works,
  },
};

const situation: FunctionSituation = {
  address: facts.address,
  facts,
  node: opens('/dev/vfio/devices/vfio0'),
  holders: [],
  held: { type: 'held', facts: held },
};

const worst = (checks: readonly Check[]): string[] =>
  checks.filter(({ verdict }) => verdict !== 'ok').map(({ id, verdict }) => `${id} ${verdict}`);

describe('a machine', () => {
  test('with everything has nothing to complain about', () => {
    const checks = machineChecks(machine);
    expect(worst(checks)).toEqual([]);
    expect(new Set(checks.map(({ id }) => id)).size).toBe(checks.length);
  });

  const cases: readonly [string, Partial<MachineFacts>, string][] = [
    ['an old Node', { nodeVersion: '20.9.1' }, 'node fail'],
    ['an old Linux', { kernelRelease: '6.4.12-rc1' }, 'linux fail'],
    ['no pidfds', { pidfd: no('ENOSYS') }, 'pidfd fail'],
    ['too little memory', { emulated: no('Array buffer allocation failed') }, 'emulated warn'],
    ['no IOMMU', { iommus: [] }, 'iommu warn'],
    ['an IOMMU for nobody', { groupCount: 0 }, 'iommu warn'],
    ['no vfio-pci', { hasVfioPci: false }, 'vfio-pci warn'],
    ['no iommufd', { iommufd: absent('/dev/iommu') }, 'iommufd warn'],
    ['a closed iommufd', { iommufd: { ...opens('x'), refused: 'EACCES' } }, 'iommufd warn'],
    ['interrupts that are not remapped', { interruptsRemapped: false }, 'interrupt-remapping warn'],
    ['a risk taken', { unsafeInterrupts: ['iommufd'] }, 'interrupt-remapping warn'],
    ['little to pin', { memlockBytes: 65536 }, 'memlock warn'],
    ['a log that is closed', { kernelLog: no('EPERM') }, 'kernel-log warn'],
  ];

  test.each(cases)('with %s says so, and what to do', (_, change, complaint) => {
    const checks = machineChecks({ ...machine, ...change });
    expect(worst(checks)).toEqual([complaint]);
    expect(checks.find(({ verdict }) => verdict !== 'ok')?.remedy).toBeTruthy();
  });

  test('needs a container only without an iommufd', () => {
    const without = { ...machine, container: absent('/dev/vfio/vfio') };
    expect(worst(machineChecks(without))).toEqual([]);
    const neither = { ...without, iommufd: absent('/dev/iommu') };
    expect(worst(machineChecks(neither))).toEqual(['iommufd warn', 'container warn']);
  });

  test('may pin what it likes with the capability', () => {
    const small = { ...machine, memlockBytes: 0, mayLockAll: true };
    expect(worst(machineChecks(small))).toEqual([]);
  });

  test('whose interrupts tell nothing is not accused', () => {
    const unknown = machineChecks({ ...machine, interruptsRemapped: undefined });
    expect(worst(unknown)).toEqual([]);
    expect(unknown.find(({ id }) => id === 'interrupt-remapping')?.value).toBeNull();
  });
});

describe('a function', () => {
  test('with everything has nothing to complain about', () => {
    expect(worst(functionChecks(situation))).toEqual([]);
  });

  const changed = (change: Partial<HeldFacts>): FunctionSituation => ({
    ...situation,
    held: { type: 'held', facts: { ...held, ...change } },
  });
  const cases: readonly [string, FunctionSituation, string[]][] = [
    ['that is not there', { ...situation, facts: undefined }, ['function fail']],
    [
      'of the host',
      { ...situation, facts: { ...facts, driver: 'e1000e' }, node: undefined, held: undefined },
      ['driver fail'],
    ],
    [
      'without IOMMU',
      { ...situation, facts: { ...facts, group: undefined }, held: undefined },
      ['group fail'],
    ],
    [
      'that may not be opened',
      { ...situation, node: { ...opens('x'), refused: 'EACCES' }, held: undefined },
      ['permissions fail'],
    ],
    [
      'that somebody has',
      { ...situation, holders: [{ pid: 7, name: 'node' }], held: { type: 'in-use' } },
      ['use warn'],
    ],
    [
      'that the kernel refuses',
      { ...situation, held: { type: 'refused', reason: 'no', hint: undefined } },
      ['use fail'],
    ],
    ['without PASIDs', changed({ pasidBits: 0 }), ['pasid warn']],
    ['in a container', changed({ way: 'container' }), ['underside warn']],
    ['that cannot be reset', changed({ canReset: false }), ['reset warn']],
    ['without interrupts', changed({ vectorCount: 0 }), ['interrupts warn']],
    [
      'without dma-bufs',
      changed({ dmaBufs: noDmaBufs('none') }),
      ['export', 'map', 'revoke', 'memory'].map((name) => `dma-buf-${name} warn`),
    ],
    [
      'whose dma-bufs harm in the wrong hands',
      changed({ dmaBufs: { ...held.dmaBufs, strangers: no('O_PATH') } }),
      ['dma-buf-strangers warn'],
    ],
  ];

  test.each(cases)('%s', (_, state, complaints) => {
    expect(worst(functionChecks(state))).toEqual(complaints);
  });

  test('shares its group with the host: names them, with the command that helps', () => {
    const members = [
      { address: '0000:00:05.0', driver: 'vfio-pci' },
      { address: '0000:00:05.1', driver: 'e1000e' },
    ];
    const shared = { ...facts, group: { number: 3, members } };
    const found = functionChecks({ ...situation, facts: shared, held: undefined });
    const check = found.find(({ id }) => id === 'group');
    expect(check?.verdict).toBe('fail');
    expect(check?.found).toContain('0000:00:05.1 (e1000e)');
    expect(check?.remedy).toBe('lessor bind 0000:00:05.1');
  });

  test('comes with the udev rule of its node', () => {
    const rule = (of: FunctionFacts): string =>
      functionChecks({ ...situation, facts: of }).find(({ id }) => id === 'permissions')?.remedy ??
      '';
    expect(rule(facts)).toContain('SUBSYSTEM=="vfio-dev", KERNELS=="0000:00:05.0", GROUP="lessor"');
    expect(rule(facts)).toContain('KERNEL=="iommu"');
    expect(rule({ ...facts, hasCharacterDevice: false })).toContain(
      'SUBSYSTEM=="vfio", KERNEL=="3"',
    );
  });
});

test('a report is ok when nothing failed', () => {
  const checks = machineChecks({ ...machine, iommus: [] });
  expect(reportOf(checks, []).ok).toBe(true);
  const gone = functionChecks({ ...situation, facts: undefined });
  expect(reportOf(checks, [{ address: 'x', checks: gone }]).ok).toBe(false);
});

describe('what the kernel writes', () => {
  test('versions', () => {
    expect(compareVersions('20.19.0', '20.19')).toBe(0);
    expect(compareVersions('v21.0', '20.19')).toBe(1);
    expect(compareVersions('6.10.0-generic', '6.5')).toBe(1);
    expect(compareVersions('nonsense', '6.5')).toBe(-1);
  });

  test('interrupts', () => {
    expect(remappingIn('  1:  0  IR-IO-APIC  1-edge  i8042\n', 'x64')).toBe(true);
    expect(remappingIn(' 25:  0  IR-PCI-MSIX-0000:00:04.0  0-edge\n', 'x64')).toBe(true);
    expect(remappingIn(' 24:  0  DMAR-MSI  0-edge  dmar0\n 1: 0  IO-APIC\n', 'x64')).toBe(false);
    expect(remappingIn(' 1: 0 GICv3\n', 'arm64')).toBeUndefined();
    expect(remappingIn('', 'x64')).toBeUndefined();
  });

  test('limits', () => {
    expect(memlockIn('Max locked memory         8388608              8388608       bytes\n')).toBe(
      8388608,
    );
    expect(memlockIn('Max locked memory         unlimited            unlimited     bytes\n')).toBe(
      Number.POSITIVE_INFINITY,
    );
    expect(memlockIn('')).toBe(0);
  });

  test('capabilities, which count in the first user namespace alone', () => {
    const all = 'CapEff:\t000001ffffffffff\n';
    const first = '         0          0 4294967295\n';
    expect(mayLockAll(all, first)).toBe(true);
    expect(mayLockAll(all, '')).toBe(true);
    expect(mayLockAll(all, '         0       1000          1\n')).toBe(false);
    expect(mayLockAll('CapEff:\t000001ffffffbfff\n', first)).toBe(false);
    expect(mayLockAll('', first)).toBe(false);
  });

  test('huge pages and nodes', () => {
    expect(hugePagesIn('HugePages_Total:       4\nHugepagesize:       2048 kB\n')).toEqual({
      count: 4,
      sizeBytes: 2097152,
    });
    expect(nodeStatus('/dev/null').owner?.mode).toBe(0o20666);
    expect(nodeStatus('/dev/none').owner).toBeUndefined();
  });
});
