import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { limits } from '../../base/limits.js';
import { type BindingOptions, bindFunctions, unbindFunction } from './binding.js';
import { BindingFolder, parseRecord } from './binding-record.js';
import { type FakeFunction, FakeSysfs } from './testing/fake-sysfs.js';

const nic = '0000:03:00.0';
const audio = '0000:03:00.1';

let folder: string;
let sysfs: FakeSysfs;
const told: string[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lessor-bindings-'));
  told.length = 0;
});
afterEach(() => {
  sysfs[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

function options(more: Partial<BindingOptions> = {}): BindingOptions {
  const records = new BindingFolder(folder);
  return { host: sysfs, records, tell: (line) => told.push(line), ...more };
}

function world(functions: readonly FakeFunction[], drivers?: readonly string[]): FakeSysfs {
  sysfs = new FakeSysfs(functions, drivers);
  return sysfs;
}

const driverOf = (address: string): string | undefined =>
  sysfs.files.linkName(`bus/pci/devices/${address}/driver`);
const overrideOf = (address: string): string | undefined =>
  sysfs.files.text(`bus/pci/devices/${address}/driver_override`);

describe('bind', () => {
  test('takes a function from its driver, and unbind gives it back', async () => {
    world([{ address: nic, group: 7, driver: 'e1000e' }]);
    expect(await bindFunctions([nic], options())).toEqual([
      {
        address: nic,
        driver: 'vfio-pci',
        group: 7,
        node: '/dev/vfio/devices/vfio0',
        changed: true,
      },
    ]);
    expect(sysfs.writes).toEqual([
      `bus/pci/devices/${nic}/driver_override vfio-pci`,
      `bus/pci/devices/${nic}/driver/unbind ${nic}`,
      `bus/pci/drivers_probe ${nic}`,
    ]);
    expect(await unbindFunction(nic, options())).toEqual({
      address: nic,
      driver: 'e1000e',
      changed: true,
    });
    expect(overrideOf(nic)).toBe('(null)');
    expect(readdirSync(folder)).toEqual([]);
  });

  test('leaves a function that had no driver without one', async () => {
    world([{ address: nic, group: 7 }]);
    sysfs.likes.set(nic, 'late');
    sysfs.addDriver('late');
    await bindFunctions([nic], options());
    expect((await unbindFunction(nic, options())).driver).toBeUndefined();
    expect(driverOf(nic)).toBeUndefined();
  });

  test('does nothing to what is bound, and says so', async () => {
    world([{ address: nic, group: 7, driver: 'vfio-pci' }]);
    sysfs.readOnly = 'denied';
    expect(await bindFunctions([nic], options())).toMatchObject([{ changed: false }]);
    expect(sysfs.writes).toEqual([]);
  });

  test('names the node of the group where there are no character devices', async () => {
    world([{ address: nic, group: 7 }]);
    sysfs.hasNoCharacterDevices = true;
    expect(await bindFunctions([nic], options())).toMatchObject([{ node: '/dev/vfio/7' }]);
  });

  test('binds the functions of a group together', async () => {
    world([
      { address: nic, group: 7, driver: 'e1000e' },
      { address: audio, group: 7, driver: 'snd_hda_intel' },
    ]);
    await expect(bindFunctions([nic], options())).rejects.toMatchObject({
      code: 'GROUP_NOT_VIABLE',
      message: expect.stringContaining(`${audio} (snd_hda_intel)`),
      hint: expect.stringContaining(`lessor bind ${nic} ${audio}`),
    });
    const both = await bindFunctions([nic, audio], options());
    expect(both.map(({ driver }) => driver)).toEqual(['vfio-pci', 'vfio-pci']);
  });

  test.each(['pcieport', 'pci-stub', 'vfio-pci', 'mlx5_vfio_pci'])(
    'takes no offence at %s beside it',
    async (driver) => {
      world([
        { address: nic, group: 7 },
        { address: audio, group: 7, driver },
      ]);
      expect(await bindFunctions([nic], options())).toHaveLength(1);
    },
  );

  test('refuses what is not there', async () => {
    world([]);
    await expect(bindFunctions([nic], options())).rejects.toMatchObject({ code: 'FUNCTION_GONE' });
    await expect(unbindFunction(nic, options())).rejects.toMatchObject({ code: 'FUNCTION_GONE' });
  });

  test('refuses without IOMMU, without vfio-pci, without root', async () => {
    world([{ address: nic }, { address: audio, group: 1 }], []);
    const unsupported = { code: 'UNSUPPORTED' };
    await expect(bindFunctions([nic], options())).rejects.toMatchObject(unsupported);
    await expect(bindFunctions([audio], options())).rejects.toMatchObject({
      ...unsupported,
      hint: 'modprobe vfio-pci',
    });
    sysfs.readOnly = 'denied';
    await expect(bindFunctions([audio], options())).rejects.toMatchObject({ code: 'DENIED' });
    sysfs.readOnly = 'read-only';
    await expect(bindFunctions([audio], options())).rejects.toMatchObject({
      message: expect.stringContaining('read-only'),
    });
    expect(sysfs.writes).toEqual([]);
  });

  test('refuses a physical function whose virtual ones are there, forced or not', async () => {
    world([{ address: nic, group: 7, driver: 'ice', attributes: { sriov_numvfs: '4' } }]);
    const force = bindFunctions([nic], options({ force: true }));
    await expect(force).rejects.toMatchObject({ code: 'FUNCTION_BUSY' });
  });

  test('refuses a bridge unless forced', async () => {
    world([{ address: nic, group: 7, attributes: { class: '0x060400' } }]);
    await expect(bindFunctions([nic], options())).rejects.toMatchObject({
      code: 'FUNCTION_BUSY',
      message: expect.stringContaining('it is a bridge'),
    });
    expect(await bindFunctions([nic], options({ force: true }))).toHaveLength(1);
  });
});

describe('when a step fails', () => {
  const both: readonly FakeFunction[] = [
    { address: nic, group: 7, driver: 'e1000e' },
    { address: audio, group: 8, driver: 'snd_hda_intel', attributes: { driver_override: 'own' } },
  ];

  function expectNothingChanged(): void {
    expect([nic, audio].map(driverOf)).toEqual(['e1000e', 'snd_hda_intel']);
    expect([nic, audio].map(overrideOf)).toEqual(['(null)', 'snd_hda_intel']);
    expect(readdirSync(folder)).toEqual([]);
    expect(told).toEqual([]);
  }

  test.each([
    [`bus/pci/devices/${nic}/driver_override vfio`],
    [`bus/pci/devices/${nic}/driver/unbind`],
    [`bus/pci/drivers_probe ${nic}`],
    [`bus/pci/devices/${audio}/driver_override vfio`],
    [`bus/pci/devices/${audio}/driver/unbind`],
    [`bus/pci/drivers_probe ${audio}`],
  ])('%s: everything is as before', async (start) => {
    world(both);
    sysfs.file(`bus/pci/devices/${audio}/driver_override`, 'snd_hda_intel\n');
    sysfs.refuses = [{ start, errno: 'EIO' }];
    await expect(bindFunctions([nic, audio], options())).rejects.toMatchObject({ errno: 'EIO' });
    expectNothingChanged();
  });

  test('no driver took it: everything is as before', async () => {
    world(both);
    sysfs.file(`bus/pci/devices/${audio}/driver_override`, 'snd_hda_intel\n');
    sysfs.vfioTakesNothing = true;
    await expect(bindFunctions([nic, audio], options())).rejects.toMatchObject({
      code: 'SYSTEM_FAILED',
    });
    expectNothingChanged();
  });

  test('no node came: everything is as before', async () => {
    world(both);
    sysfs.file(`bus/pci/devices/${audio}/driver_override`, 'snd_hda_intel\n');
    sysfs.hasNoNodes = true;
    const bound = bindFunctions([nic, audio], options());
    const refused = expect(bound).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await sysfs.clock.pass(10_000);
    for (let turn = 0; turn < 400; turn += 1) await sysfs.clock.pass(20);
    await refused;
    expectNothingChanged();
  });

  test('what cannot be undone is told', async () => {
    world(both);
    sysfs.refuses = [
      { start: `bus/pci/drivers_probe ${nic}`, errno: 'EIO' },
      { start: 'bus/pci/drivers/e1000e/bind', errno: 'ENODEV' },
    ];
    await expect(bindFunctions([nic], options())).rejects.toMatchObject({ errno: 'EIO' });
    expect(told).toEqual([expect.stringContaining('could not be undone')]);
  });
});

describe('unbind', () => {
  test('refuses while somebody has the function open, and says who', async () => {
    world([{ address: nic, group: 7, driver: 'vfio-pci' }]);
    sysfs.held = [{ pid: 17, name: 'node' }];
    await expect(unbindFunction(nic, options())).rejects.toMatchObject({
      code: 'FUNCTION_BUSY',
      message: expect.stringContaining('node (pid 17)'),
    });
    expect(sysfs.writes).toEqual([]);
    expect(await unbindFunction(nic, options({ force: true }))).toMatchObject({ changed: true });
    expect(told).toEqual(['waiting until node (pid 17) lets go']);
  });

  test('of what nobody remembers asks every driver', async () => {
    world([{ address: nic, group: 7, driver: 'vfio-pci' }]);
    sysfs.file(`bus/pci/devices/${nic}/driver_override`, 'vfio-pci\n');
    sysfs.addDriver('e1000e');
    sysfs.likes.set(nic, 'e1000e');
    expect(await unbindFunction(nic, options())).toMatchObject({ driver: 'e1000e' });
  });

  test('leaves a function alone that no VFIO driver has', async () => {
    world([{ address: nic, group: 7, driver: 'e1000e' }]);
    expect(await unbindFunction(nic, options())).toMatchObject({ changed: false });
    expect(sysfs.writes).toEqual([]);
  });

  test('keeps the function bound when its driver does not take it back', async () => {
    world([{ address: nic, group: 7, driver: 'e1000e' }]);
    await bindFunctions([nic], options());
    sysfs.likes.delete(nic);
    await expect(unbindFunction(nic, options())).rejects.toMatchObject({ code: 'SYSTEM_FAILED' });
    expect(driverOf(nic)).toBe('vfio-pci');
    expect(readdirSync(folder)).toEqual([`${nic}.json`]);
  });
});

describe('what is remembered', () => {
  test.each([
    '',
    '[]',
    '7',
    '{"driver":7,"driverOverride":null}',
    '{"driver":"../x","driverOverride":null}',
    '{"driver":"e1000e"}',
    '{"driver":"e1000e","driverOverride":"a b"}',
  ])('%s is no record', (text) => {
    expect(parseRecord(text)).toBeUndefined();
  });

  test('has a limit', () => {
    world([]);
    const records = new BindingFolder(folder);
    const record = '{"driver":"e1000e","driverOverride":null}';
    writeFileSync(join(folder, `${nic}.json`), record.padEnd(limits.bindingRecordBytesMax));
    expect(records.read(nic)).toEqual({ driver: 'e1000e', driverOverride: undefined });
    writeFileSync(join(folder, `${nic}.json`), record.padEnd(limits.bindingRecordBytesMax + 1));
    expect(records.read(nic)).toBeUndefined();
  });
});
