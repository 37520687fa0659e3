// Files in /dev in words: who may open them, and the udev rule that changes it.
import type { FunctionFacts } from '../function/vfio/sysfs-function.js';
import type { NodeFacts } from './facts.js';

/** `/dev/iommu, 0660 root:107`. */
export function nodeText({ path, owner, refused }: NodeFacts): string {
  if (owner === undefined) return `no ${path}`;
  const name = (id: number): string => (id === 0 ? 'root' : String(id));
  const mode = (owner.mode & 0o7777).toString(8).padStart(4, '0');
  const may = refused === undefined ? '' : `, and may not be opened (${refused})`;
  return `${path} is ${mode} ${name(owner.uid)}:${name(owner.gid)}${may}`;
}

type Addressed = Pick<FunctionFacts, 'address' | 'group' | 'hasCharacterDevice'>;

/** Rules of udev that let a group of users have a function. @see udev(7) */
export function udevRules({ address, group, hasCharacterDevice }: Addressed): string[] {
  const to = 'GROUP="lessor", MODE="0660"';
  if (!hasCharacterDevice) {
    return [`SUBSYSTEM=="vfio", KERNEL=="${group?.number ?? '*'}", ${to}`];
  }
  return [
    `SUBSYSTEM=="vfio-dev", KERNELS=="${address}", ${to}`,
    `SUBSYSTEM=="misc", KERNEL=="iommu", ${to}`,
  ];
}

/** What to do with them. */
export function udevAdvice(facts: Addressed): string {
  return [
    'for a broker that is not root, in /etc/udev/rules.d/70-lessor.rules:',
    ...udevRules(facts).map((rule) => `  ${rule}`),
    'then: udevadm control --reload && udevadm trigger',
  ].join('\n');
}
