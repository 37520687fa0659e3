// Verdicts on the machine: facts in, checks out.
import { type Check, fail, ok, warn } from './check.js';
import type { MachineFacts, NodeFacts } from './facts.js';
import { nodeText } from './node-text.js';

const nodeMin = '20.19';
const linuxMin = '6.5';
/** Under this, a client that maps a few buffers is refused. */
const memlockBytesMin = 64 * 1024 * 1024;
const mib = 1024 * 1024;

/** What lessor needs on any machine, then what it needs for real functions. */
export function machineChecks(facts: MachineFacts): Check[] {
  return [
    version('node', 'Node', facts.nodeVersion, nodeMin),
    version('linux', 'Linux', facts.kernelRelease, linuxMin),
    tried('pidfd', facts.pidfd, 'processes are named by pidfd', 'use a kernel that has pidfds'),
    emulated(facts),
    iommu(facts),
    vfioPci(facts),
    iommufd(facts),
    container(facts),
    remapping(facts),
    memlock(facts),
    kernelLog(facts),
    hugePages(facts),
  ];
}

/** 20.20.1 against 20.19: -1, 0 or 1. */
export function compareVersions(one: string, other: string): number {
  const parts = (text: string): number[] =>
    (/^v?(\d+(?:\.\d+)*)/.exec(text)?.[1] ?? '0').split('.').map(Number);
  const [a, b] = [parts(one), parts(other)];
  for (let index = 0; index < b.length; index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return Math.sign(difference);
  }
  return 0;
}

function version(id: string, name: string, found: string, min: string): Check {
  const words = { found: `${name} ${found}`, value: found };
  if (compareVersions(found, min) >= 0) return ok(id, words);
  return fail(id, { ...words, remedy: `use ${name} ${min} or newer` });
}

function tried(id: string, what: MachineFacts['pidfd'], works: string, remedy: string): Check {
  if (what.works) return ok(id, { found: works, value: true });
  return fail(id, { found: what.reason, value: false, remedy });
}

/** Real functions do without it; without the addon nothing works. */
function emulated({ emulated: what, pidfd }: MachineFacts): Check {
  const id = 'emulated';
  if (what.works) {
    const found = 'a function in software works: lessor serve, lessor demo';
    return ok(id, { found, value: true });
  }
  const words = { found: `no function in software: ${what.reason}`, value: false };
  if (!pidfd.works) return fail(id, { ...words, remedy: 'build the addon: npm run setup' });
  const isMemory = /allocation failed/i.test(what.reason);
  const remedy = isMemory
    ? 'it reserves 2 GiB of addresses at once: give the machine more memory, or set ' +
      'vm.overcommit_memory=1'
    : 'see the log of "lessor serve --log debug"';
  return warn(id, { ...words, remedy });
}

function iommu({ iommus, groupCount }: MachineFacts): Check {
  if (iommus.length > 0 && groupCount > 0) {
    const found = `${iommus.join(', ')}; functions are in ${groupCount} groups`;
    return ok('iommu', { found, value: true });
  }
  const found =
    iommus.length === 0 ? 'no IOMMU: real functions cannot be leased' : 'no function is in a group';
  const remedy =
    'switch it on in the firmware (VT-d, AMD-Vi, SMMU), and boot with intel_iommu=on where the ' +
    'kernel asks for it';
  return warn('iommu', { found, value: false, remedy });
}

function vfioPci({ hasVfioPci }: MachineFacts): Check {
  if (hasVfioPci) return ok('vfio-pci', { found: 'the driver vfio-pci is there', value: true });
  const found = 'the driver vfio-pci is not there';
  return warn('vfio-pci', { found, value: false, remedy: 'modprobe vfio-pci' });
}

const isOpen = (node: NodeFacts): boolean => node.owner !== undefined && !node.refused;

function iommufd({ iommufd: node, container: other }: MachineFacts): Check {
  if (isOpen(node)) return ok('iommufd', { found: nodeText(node), value: true });
  if (node.owner !== undefined) {
    const remedy = `give it to your user:\n${iommufdRule}`;
    return warn('iommufd', { found: nodeText(node), value: false, remedy });
  }
  const found = isOpen(other)
    ? 'no /dev/iommu: functions are opened by group and container, without PASIDs'
    : 'no /dev/iommu';
  return warn('iommufd', {
    found,
    value: false,
    remedy: 'modprobe iommufd, on Linux 6.6 or newer',
  });
}

/** Only needed where there is no iommufd. */
function container({ container: node, iommufd: other }: MachineFacts): Check {
  if (isOpen(node)) return ok('container', { found: nodeText(node), value: true });
  const words = { found: nodeText(node), value: false };
  if (isOpen(other)) return ok('container', { ...words, found: `${words.found}; not needed` });
  return warn('container', { ...words, remedy: 'modprobe vfio_iommu_type1' });
}

function remapping({ interruptsRemapped, unsafeInterrupts }: MachineFacts): Check {
  const value = interruptsRemapped ?? null;
  const id = 'interrupt-remapping';
  const accepted = unsafeInterrupts.length > 0;
  const modules = unsafeInterrupts.join(' and ');
  if (value === true && !accepted) return ok(id, { found: 'interrupts are remapped', value });
  if (value === null) {
    const found = 'it does not show here; the kernel refuses functions it does not hold for';
    return ok(id, { found, value });
  }
  if (accepted) {
    return warn(id, {
      found: `${modules} takes functions that can forge any interrupt (allow_unsafe_interrupts)`,
      value,
      remedy: 'set allow_unsafe_interrupts=0 where interrupts are remapped',
    });
  }
  const remedy = 'switch it on in the firmware; allow_unsafe_interrupts=1 takes the risk instead';
  return warn(id, { found: 'interrupts are not remapped', value, remedy });
}

function memlock({ memlockBytes, mayLockAll }: MachineFacts): Check {
  const value = Number.isFinite(memlockBytes) ? memlockBytes : null;
  if (mayLockAll) {
    return ok('memlock', { found: 'this process may pin any memory (CAP_IPC_LOCK)', value });
  }
  if (value === null) return ok('memlock', { found: 'no limit on pinned memory', value });
  const size = value < mib ? `${Math.floor(value / 1024)} KiB` : `${Math.floor(value / mib)} MiB`;
  const whose =
    'what clients map counts against it: with iommufd for the whole user, with a container ' +
    'for the broker';
  const found = `${size} may be pinned (RLIMIT_MEMLOCK); ${whose}`;
  if (value >= memlockBytesMin) return ok('memlock', { found, value });
  const remedy = 'LimitMEMLOCK=infinity for the service, or memlock in /etc/security/limits.conf';
  return warn('memlock', { found, value, remedy });
}

function kernelLog({ kernelLog: log }: MachineFacts): Check {
  const id = 'kernel-log';
  if (log.works) {
    return ok(id, { found: 'DMA that an IOMMU refuses is seen in the kernel log', value: true });
  }
  return warn(id, {
    found: `DMA that an IOMMU refuses is stopped, and not reported: ${log.reason}`,
    value: false,
    remedy: 'give the broker CAP_SYSLOG and a readable /dev/kmsg, or set kernel.dmesg_restrict=0',
  });
}

function hugePages({ hugePages: { count, sizeBytes } }: MachineFacts): Check {
  const size = `${sizeBytes / mib} MiB`;
  if (count > 0) return ok('huge-pages', { found: `${count} of ${size}`, value: count });
  const found = 'none reserved; clients that want them cannot have them';
  const remedy = `echo 64 > /proc/sys/vm/nr_hugepages reserves 64 of ${size}`;
  return ok('huge-pages', { found, value: count, ...(sizeBytes > 0 ? { remedy } : {}) });
}

const iommufdRule = 'KERNEL=="iommu", SUBSYSTEM=="misc", GROUP="lessor", MODE="0660"';
