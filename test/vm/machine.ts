// The virtual machine as words of QEMU's command line. What a test counts on is pinned here:
// the IOMMU's address width, and the slots of the devices.

/** Slot of QEMU's educational device on the root bus. */
export const eduSlot = 5;
/** Where the guest has it. */
export const eduAddress = '0000:00:05.0';
/**
 * Where the guest has the device of `VmMachine.behindPort`: alone on the bus of a root port in slot
 * 4, so that the guest's kernel can reset it by resetting that bus.
 */
export const portAddress = '0000:01:00.0';
const portSlot = 4;
/** Slots that `VmMachine.vfioUser` may take. */
export const freeSlots = { first: 6, last: 0x1e } as const;

export interface VmMachine {
  readonly cpus: number;
  readonly memoryMib: number;
  /** Sockets of vfio-user servers on the host, by slot of the guest's root bus. */
  readonly vfioUser: Readonly<Record<number, string>>;
  /** Socket of a vfio-user server on the host, whose device is at `portAddress` in the guest. */
  readonly behindPort?: string;
  /** More words for the guest kernel's command line. */
  readonly kernelWords: readonly string[];
}

export const usualMachine: VmMachine = {
  cpus: 2,
  memoryMib: 2048,
  vfioUser: {},
  kernelWords: [],
};

export interface MachineFiles {
  readonly bzImage: string;
  readonly initramfs: string;
  /** The writable folder that the guest leaves its results in. */
  readonly share: string;
  /** An inherited descriptor: the guest's serial console, both ways. */
  readonly consoleFd: number;
}

const kernelWords = [
  'console=ttyS0',
  // Shown on the console: all but debugging.
  'loglevel=7',
  // QEMU ends when the guest would boot again.
  ...['panic=-1', 'oops=panic'],
  // A host with no time makes the timer late at boot, which the kernel would take for a broken one.
  'no_timer_check',
  // The guest's own disks need no translation; what VFIO binds has it all the same.
  'iommu=pt',
];

function vfioUserDevice(path: string, place: Readonly<Record<string, string>>): readonly string[] {
  const socket = { type: 'unix', path };
  return ['-device', JSON.stringify({ driver: 'vfio-user-pci', ...place, socket })];
}

function portWords(path: string | undefined): readonly string[] {
  if (path === undefined) return [];
  const port = `pcie-root-port,id=root-port,bus=pcie.0,addr=${portSlot},chassis=1,slot=1`;
  return ['-device', port, ...vfioUserDevice(path, { bus: 'root-port', addr: '0' })];
}

function vfioUserWords(devices: VmMachine['vfioUser']): readonly string[] {
  return Object.entries(devices).flatMap(([slot, path]) => {
    const number = Number(slot);
    const isFree = number >= freeSlots.first && number <= freeSlots.last;
    if (!Number.isInteger(number) || !isFree) {
      throw new RangeError(`slot ${slot} is not one of ${freeSlots.first} to ${freeSlots.last}`);
    }
    return vfioUserDevice(path, { addr: number.toString(16) });
  });
}

function folderWords(tag: string, path: string, more: string): readonly string[] {
  // A comma ends a value in this notation unless it is doubled.
  const escaped = path.replaceAll(',', ',,');
  return ['-virtfs', `local,path=${escaped},mount_tag=${tag},security_model=none${more}`];
}

/** The words after QEMU's own name. */
export function machineWords(machine: VmMachine, files: MachineFiles): readonly string[] {
  const { cpus, memoryMib, vfioUser, behindPort } = machine;
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    // Emulated: the same everywhere, with KVM or without.
    ...['-accel', 'tcg,thread=multi'],
    // Shared memory in a descriptor, which vfio-user devices can be given.
    ...['-object', `memory-backend-memfd,id=ram,share=on,size=${memoryMib}M`],
    ...['-M', 'q35,kernel-irqchip=split,memory-backend=ram', '-m', `${memoryMib}M`],
    ...['-cpu', 'max', '-smp', String(cpus)],
    ...['-device', 'intel-iommu,intremap=on,caching-mode=on,aw-bits=48'],
    ...['-device', `edu,addr=${eduSlot}`],
    ...portWords(behindPort),
    ...vfioUserWords(vfioUser),
    ...folderWords('host', '/', ',readonly=on,multidevs=remap'),
    ...folderWords('share', files.share, ',multidevs=remap'),
    ...['-chardev', `socket,id=console,fd=${files.consoleFd}`, '-serial', 'chardev:console'],
    ...['-kernel', files.bzImage, '-initrd', files.initramfs],
    ...['-append', [...kernelWords, ...machine.kernelWords].join(' ')],
  ];
}
