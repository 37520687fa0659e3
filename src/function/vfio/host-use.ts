// What the host does with a function that it would miss: mounted disks, network, console.
import { networkInterfaces } from 'node:os';
import { limits } from '../../base/limits.js';
import { readBounded, type SysfsFiles } from './sysfs-files.js';
import { devicesFolder, type FunctionFacts } from './sysfs-function.js';

export interface MountedSource {
  /** `8:1`; of no device for file systems that span several. */
  readonly deviceNumber: string;
  readonly type: string;
  /** `/dev/sda1`, or the tag of a folder of the machine's host. */
  readonly source: string;
  readonly at: string;
}

/** What the kernel says outside of sysfs; a parameter, for tests. */
export interface HostTables {
  mounts(): readonly MountedSource[];
  /** Paths of devices and files that are swapped to. */
  swaps(): readonly string[];
  /** Network interfaces that are up and have an address. */
  addressed(): readonly string[];
}

/** Lines of /proc/self/mountinfo. @see proc_pid_mountinfo(5) */
export function parseMounts(text: string): MountedSource[] {
  return text.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , deviceNumber, , at] = before.split(' ');
    const [type, source] = after.split(' ');
    if (!deviceNumber || !at || !type || !source) return [];
    return [{ deviceNumber, type, source, at }];
  });
}

/** Of this process, and of the first one where it may be seen. */
export const systemTables: HostTables = {
  mounts() {
    const texts = ['self', '1'].map((pid) =>
      readBounded(`/proc/${pid}/mountinfo`, limits.procTableBytesMax),
    );
    return texts.flatMap((text) => parseMounts(text ?? ''));
  },
  swaps() {
    const lines = readBounded('/proc/swaps', limits.procTableBytesMax)?.split('\n') ?? [];
    return lines.slice(1).map((line) => line.split(/\s/)[0] ?? '');
  },
  addressed() {
    const interfaces = Object.entries(networkInterfaces());
    return interfaces.flatMap(([name, list = []]) => (list.length > 0 ? [name] : []));
  },
};

const IFF_UP = 0x1;

/**
 * What of the host would break without its driver on this function, each as a clause; empty for one
 * that no driver has.
 *
 * @throws LessorError `SYSTEM_FAILED` when there is more of it than can be looked at
 */
export function hostUses(files: SysfsFiles, tables: HostTables, facts: FunctionFacts): string[] {
  if (facts.driver === undefined) return [];
  const own = files.realPath(`${devicesFolder}/${facts.address}`);
  if (own === undefined) return [];
  const isBelow = (relative: string): boolean =>
    files.realPath(relative)?.startsWith(`${own}/`) ?? false;
  return [
    ...(facts.isBootDisplay ? ['it shows the console'] : []),
    ...networkUses(files, tables, isBelow),
    ...diskUses(files, tables, isBelow),
    ...sharedFolderUses(files, tables, facts),
  ];
}

type IsBelow = (relative: string) => boolean;

function networkUses(files: SysfsFiles, tables: HostTables, isBelow: IsBelow): string[] {
  const addressed = tables.addressed();
  return files.names('class/net').flatMap((name) => {
    const folder = `class/net/${name}`;
    const isUp = ((files.number(`${folder}/flags`) ?? 0) & IFF_UP) !== 0;
    if (!isUp || !isBelow(folder)) return [];
    if (addressed.includes(name)) return [`network interface ${name} is up and has an address`];
    // A bridge, a bond or a VLAN has the address in its place.
    const above = files.names(folder).find((each) => /^(master$|upper_)/.test(each));
    if (above === undefined) return [];
    const user = above === 'master' ? files.linkName(`${folder}/master`) : above.slice(6);
    return [`network interface ${name} is up and carries ${user}`];
  });
}

function diskUses(files: SysfsFiles, tables: HostTables, isBelow: IsBelow): string[] {
  const blocks = files.names('class/block');
  const direct = blocks.filter((name) => isBelow(`class/block/${name}`));
  // With several paths to it, a disk stands beside them, not below one.
  const heads = direct.flatMap((name) => {
    const path = /^nvme(\d+)c\d+n(\d+)$/.exec(name);
    return path === null ? [] : [`nvme${path[1]}n${path[2]}`];
  });
  const ofHeads = blocks.filter((name) =>
    heads.some((head) => name === head || name.startsWith(`${head}p`)),
  );
  const mounts = tables.mounts();
  const swaps = tables.swaps();
  return [...new Set([...direct, ...ofHeads])].flatMap((name) => {
    const number = files.text(`class/block/${name}/dev`);
    const mounted = mounts.find(
      ({ deviceNumber, source }) => deviceNumber === number || source === `/dev/${name}`,
    );
    const [holder] = files.names(`class/block/${name}/holders`);
    return [
      ...(mounted === undefined ? [] : [`disk ${name} is mounted on ${mounted.at}`]),
      ...(swaps.includes(`/dev/${name}`) ? [`disk ${name} is swapped to`] : []),
      ...(holder === undefined ? [] : [`disk ${name} is part of ${holder}`]),
    ];
  });
}

/** Folders that a machine's monitor shares with it, over virtio. */
function sharedFolderUses(files: SysfsFiles, tables: HostTables, facts: FunctionFacts): string[] {
  const folder = `${devicesFolder}/${facts.address}`;
  const virtio = files.names(folder).filter((name) => /^virtio\d{1,9}$/.test(name));
  const tags = virtio.flatMap((name) => files.text(`${folder}/${name}/mount_tag`) ?? []);
  const shared = files.names('fs/virtiofs').flatMap((name) => {
    const device = files.linkName(`fs/virtiofs/${name}/device`);
    if (device === undefined || !virtio.includes(device)) return [];
    return files.text(`fs/virtiofs/${name}/tag`) ?? [];
  });
  const mounts = tables.mounts().filter(({ type }) => ['9p', 'virtiofs'].includes(type));
  return [...tags, ...shared].flatMap((tag) => {
    const mounted = mounts.find(({ source }) => source === tag);
    return mounted === undefined ? [] : [`shared folder ${tag} is mounted on ${mounted.at}`];
  });
}
