// Facts of this machine. Everything read is bounded and judged; whatever fails is a fact as well.
import { statSync } from 'node:fs';
import { release } from 'node:os';
import { errnoOf } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { silentLogger } from '../base/log.js';
import { createEmbeddedMqdma } from '../broker/embedded.js';
import { control, mqdma } from '../device/mqdma/datasheet.js';
import { readBounded, SysfsFiles } from '../function/vfio/sysfs-files.js';
import { createOs, type IoctlOs, type Os } from '../os/index.js';
import type { MachineFacts, NodeFacts, Tried } from './facts.js';

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
/** /dev/kmsg; containers put other files in its place. */
const kernelLogDevice = (1 << 8) | 11;
/** linux/capability.h */
const CAP_IPC_LOCK = 14n;
const everyId = 4_294_967_295;

/** Gathers what does not depend on a function. Without the addon only what needs none. */
export async function gatherMachine(files = new SysfsFiles()): Promise<MachineFacts> {
  const os = tryOs();
  const withOs = (works: (os: Os) => unknown): Promise<Tried> =>
    attempt(async () => {
      if ('error' in os) throw os.error;
      await works(os.os);
    });
  const node = (path: string): NodeFacts =>
    'error' in os ? nodeStatus(path) : nodeFacts(os.os.ioctl, path);
  const table = (path: string): string => readBounded(path, limits.procTableBytesMax) ?? '';
  return {
    nodeVersion: process.versions.node,
    kernelRelease: release(),
    uid: process.getuid?.() ?? 0,
    pidfd: await withOs(({ processes }) => processes.openPidfd(processes.pid).close()),
    emulated: await withOs(tryEmulated),
    iommus: files.names('class/iommu'),
    groupCount: files.names('kernel/iommu_groups').length,
    hasVfioPci: files.exists('bus/pci/drivers/vfio-pci'),
    iommufd: node('/dev/iommu'),
    container: node('/dev/vfio/vfio'),
    interruptsRemapped: remappingIn(table('/proc/interrupts'), process.arch),
    unsafeInterrupts: ['iommufd', 'vfio_iommu_type1'].filter(
      (name) => files.text(`module/${name}/parameters/allow_unsafe_interrupts`) === 'Y',
    ),
    memlockBytes: memlockIn(table('/proc/self/limits')),
    mayLockAll: mayLockAll(table('/proc/self/status'), table('/proc/self/uid_map')),
    kernelLog: await withOs((made) => {
      // Reading is what takes the privilege; where the log is too young there is nothing to read.
      made.ioctl.open('/dev/kmsg', O_NONBLOCK).close();
      if (statSync('/dev/kmsg').rdev !== kernelLogDevice)
        throw new TypeError('/dev/kmsg is another file here');
    }),
    hugePages: hugePagesIn(table('/proc/meminfo')),
  };
}

type MadeOs = { readonly os: Os } | { readonly error: unknown };

function tryOs(): MadeOs {
  try {
    return { os: createOs() };
  } catch (error) {
    return { error };
  }
}

async function attempt(work: () => Promise<unknown>): Promise<Tried> {
  try {
    await work();
    return { works: true };
  } catch (error) {
    return { works: false, reason: error instanceof Error ? error.message : String(error) };
  }
}

/** Brings a function in software up, has it answer, and ends it. */
async function tryEmulated(os: Os): Promise<void> {
  const helpers = os.createHelpers();
  try {
    await using fn = await createEmbeddedMqdma({
      os,
      helpers,
      name: 'doctor',
      queueCount: 1,
      faultInjection: false,
      log: silentLogger,
    });
    const id = await fn.registers(mqdma.controlRegion).read32(control.ID);
    if (id !== mqdma.id) throw new TypeError(`its register ID reads ${id.toString(16)}`);
  } finally {
    await helpers[Symbol.asyncDispose]();
  }
}

/** A file of /dev, left alone. */
export function nodeStatus(path: string): NodeFacts {
  try {
    const { mode, uid, gid } = statSync(path);
    return { path, owner: { mode, uid, gid }, refused: undefined };
  } catch {
    return { path, owner: undefined, refused: undefined };
  }
}

/** A file of /dev, opened and closed again. */
export function nodeFacts(ioctl: Pick<IoctlOs, 'open'>, path: string): NodeFacts {
  const status = nodeStatus(path);
  if (status.owner === undefined) return status;
  try {
    ioctl.open(path, O_RDWR).close();
    return status;
  } catch (error) {
    return { ...status, refused: errnoOf(error) ?? 'EIO' };
  }
}

/**
 * Whether interrupts go through the IOMMU, by the names of their chips. Only x86 shows it there.
 *
 * @param text - /proc/interrupts
 */
export function remappingIn(text: string, arch: string): boolean | undefined {
  if (arch !== 'x64' || text === '') return undefined;
  return /\s(?:AMD-)?IR-(?:PCI|IO-APIC|HPET|DMAR)/.test(text);
}

/** @param text - /proc/self/limits. @returns Infinity without a limit, 0 for what is not there. */
export function memlockIn(text: string): number {
  const [, soft = '0'] = /^Max locked memory\s+(\d{1,15}|unlimited)\s/m.exec(text) ?? [];
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}

/**
 * Whether the limit on pinned memory does not count. The kernel asks for the capability in its
 * first user namespace alone.
 *
 * @param status - /proc/self/status. @param uidMap - /proc/self/uid_map
 */
export function mayLockAll(status: string, uidMap: string): boolean {
  const [, effective = '0'] = /^CapEff:\s+([0-9a-f]{1,16})$/m.exec(status) ?? [];
  const map = uidMap.trim().split(/\s+/).map(Number).join();
  // Kernels without user namespaces have no such file.
  const isFirst = uidMap === '' || map === `0,0,${everyId}`;
  return isFirst && ((BigInt(`0x${effective}`) >> CAP_IPC_LOCK) & 1n) === 1n;
}

/** @param text - /proc/meminfo */
export function hugePagesIn(text: string): MachineFacts['hugePages'] {
  const number = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d{1,12})`, 'm').exec(text)?.[1] ?? 0);
  return { count: number('HugePages_Total'), sizeBytes: number('Hugepagesize') * 1024 };
}
