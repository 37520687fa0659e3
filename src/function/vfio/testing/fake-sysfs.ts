// A sysfs of files in a folder, and a kernel that acts on what is written to it.
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { OsError } from '../../../base/errors.js';
import { FakeClock } from '../../../os/testing/fake-clock.js';
import type { BindingHost } from '../binding-host.js';
import type { HostTables, MountedSource } from '../host-use.js';
import type { NodeHolder } from '../node-holders.js';
import { SysfsFiles } from '../sysfs-files.js';

export interface FakeFunction {
  readonly address: string;
  readonly group?: number;
  readonly driver?: string;
  readonly attributes?: Readonly<Record<string, string>>;
}

/** Owner of the folder; dispose to remove it. */
export class FakeSysfs implements BindingHost {
  readonly root = mkdtempSync(join(tmpdir(), 'lessor-sysfs-'));
  readonly files = new SysfsFiles(this.root);
  readonly clock = new FakeClock();
  /** What was written, in order: `path text`. */
  readonly writes: string[] = [];
  /** Drivers that find a device to their liking, by its address. */
  readonly likes = new Map<string, string>();
  mounted: MountedSource[] = [];
  swapped: string[] = [];
  addressed: string[] = [];
  held: NodeHolder[] = [];
  readOnly: 'denied' | 'read-only' | undefined;
  /** The probe of vfio-pci fails, which only the kernel log says. */
  vfioTakesNothing = false;
  /** Nodes never come. */
  hasNoNodes = false;
  /** VFIO has no character devices. */
  hasNoCharacterDevices = false;
  /** Fails these writes, by the start of their line in `writes`. */
  refuses: { readonly start: string; readonly errno: 'EIO' | 'EINVAL' | 'ENODEV' }[] = [];
  #nextName = 0;

  readonly tables: HostTables = {
    mounts: () => this.mounted,
    swaps: () => this.swapped,
    addressed: () => this.addressed,
  };

  constructor(functions: readonly FakeFunction[], drivers: readonly string[] = ['vfio-pci']) {
    for (const driver of drivers) this.addDriver(driver);
    for (const fn of functions) this.#add(fn);
  }

  addDriver(name: string): void {
    mkdirSync(join(this.root, 'bus/pci/drivers', name), { recursive: true });
  }

  file(relative: string, text: string): void {
    const path = join(this.root, relative);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }

  link(relative: string, target: string): void {
    const path = join(this.root, relative);
    mkdirSync(dirname(path), { recursive: true });
    rmSync(path, { force: true });
    symlinkSync(target, path);
  }

  unwritable(): 'denied' | 'read-only' | undefined {
    return this.readOnly;
  }

  hasNode(): boolean {
    return !this.hasNoNodes;
  }

  holders(): NodeHolder[] {
    return this.held;
  }

  async write(relative: string, text: string): Promise<void> {
    const line = `${relative} ${text.trim()}`.trim();
    this.writes.push(line);
    const refused = this.refuses.find(({ start }) => line.startsWith(start));
    if (refused !== undefined) throw new OsError(refused.errno, 'write', relative);
    const address = /([0-9a-f]{4}:\S+\.\d)/.exec(line)?.[1] ?? '';
    if (relative.endsWith('/driver_override')) {
      this.file(relative, text.trim() === '' ? '(null)\n' : text);
    } else if (relative.endsWith('/unbind')) {
      this.#unbind(relative, address);
    } else if (relative.endsWith('/drivers_probe')) {
      const override = this.files.text(`bus/pci/devices/${address}/driver_override`);
      const wanted = override === '(null)' ? this.likes.get(address) : override;
      if (wanted !== undefined && this.#driverOf(address) === undefined)
        this.#bind(address, wanted);
    } else {
      const driver = /drivers\/([^/]+)\/bind$/.exec(relative)?.[1] ?? '';
      const override = this.files.text(`bus/pci/devices/${address}/driver_override`);
      const isAllowed = override === '(null)' ? this.likes.get(address) : override;
      if (isAllowed !== driver) throw new OsError('ENODEV', 'write', relative);
      this.#bind(address, driver);
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  #driverOf(address: string): string | undefined {
    return this.files.linkName(`bus/pci/devices/${address}/driver`);
  }

  #unbind(relative: string, address: string): void {
    const named = /drivers\/([^/]+)\/unbind$/.exec(relative)?.[1];
    const driver = this.#driverOf(address);
    if (driver === undefined || (named ?? driver) !== driver) {
      throw new OsError('ENODEV', 'write', relative);
    }
    const folder = join(this.root, 'bus/pci/devices', address);
    rmSync(join(folder, 'driver'));
    rmSync(join(folder, 'vfio-dev'), { recursive: true, force: true });
  }

  #bind(address: string, driver: string): void {
    if (!existsSync(join(this.root, 'bus/pci/drivers', driver))) return;
    if (driver === 'vfio-pci' && this.vfioTakesNothing) return;
    this.link(`bus/pci/devices/${address}/driver`, `../../drivers/${driver}`);
    if (driver !== 'vfio-pci') return;
    const name = `vfio${this.#nextName++}`;
    const folder = `bus/pci/devices/${address}/vfio-dev/${name}`;
    this.file(`${folder}/uevent`, '');
    if (!this.hasNoCharacterDevices) this.file(`${folder}/dev`, '511:0\n');
  }

  #add({ address, group, driver, attributes = {} }: FakeFunction): void {
    const folder = `bus/pci/devices/${address}`;
    const own = {
      vendor: '0x1234',
      device: '0x11e8',
      class: '0x00ff00',
      driver_override: '(null)',
      numa_node: '-1',
      power_state: 'D0',
      ...attributes,
    };
    // As in the kernel, functions are elsewhere, and links lead to them.
    this.link(folder, `../../../devices/pci0000:00/${address}`);
    const real = `devices/pci0000:00/${address}`;
    mkdirSync(join(this.root, real), { recursive: true });
    for (const [name, text] of Object.entries(own)) this.file(`${real}/${name}`, `${text}\n`);
    if (driver !== undefined) {
      this.addDriver(driver);
      this.likes.set(address, driver);
      this.#bind(address, driver);
    }
    if (group === undefined) return;
    this.link(`${real}/iommu_group`, `../../../kernel/iommu_groups/${group}`);
    this.link(`kernel/iommu_groups/${group}/devices/${address}`, join(this.root, real));
  }
}
