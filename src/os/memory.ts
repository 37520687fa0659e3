// Memory objects: creation, seals, identity. Mappings and arenas have files of their own.
import { assert, OsError } from '../base/errors.js';
import { createArena, openArena } from './arena.js';
import { Fd, type FdCalls } from './fd.js';
import { mapMemory } from './mapping.js';
import type { MemoryIdentity, MemoryOs } from './memory-types.js';
import type { MemoryCalls } from './native-memory.js';
import { checkInteger, checkResult } from './native-result.js';

// linux/memfd.h, asm-generic/fcntl.h
const MFD_CLOEXEC = 0x1;
const MFD_ALLOW_SEALING = 0x2;
const MFD_NOEXEC_SEAL = 0x8;
const O_RDONLY = 0;
const O_ACCMODE = 3;

const EACCES = 13;
const EINVAL = 22;

type Calls = MemoryCalls & FdCalls;

function createMemory(native: Calls, name: string, lengthBytes: number): Fd {
  if (name.includes('\0')) throw new OsError('EINVAL', 'memfd_create', 'NUL in the name');
  checkInteger(lengthBytes, 'ftruncate', 'length');
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  let number = native.memfdCreate(name, flags);
  // Where the sysctl vm.memfd_noexec is 2, only this is allowed; it adds the seal 0x20.
  if (number === -EACCES) number = native.memfdCreate(name, flags | MFD_NOEXEC_SEAL);
  const fd = new Fd(native, checkResult(number, 'memfd_create', name));
  try {
    checkResult(native.ftruncate(fd.number, lengthBytes), 'ftruncate', `to ${lengthBytes}`);
    return fd;
  } catch (error) {
    fd.close();
    throw error;
  }
}

function accessOf(flags: number): MemoryIdentity['access'] {
  const mode = flags & O_ACCMODE;
  if (mode === O_RDONLY) return 'read';
  // Mode 3 admits neither reading nor writing, and like write-only it cannot be mapped.
  return mode === 2 ? 'read-write' : 'write';
}

/** Overwritten by each call: an array of its own costs more than the system call. */
const status = new BigInt64Array(3);

function identify(native: Calls, fd: Fd): MemoryIdentity {
  checkResult(native.fstat(fd.number, status), 'fstat');
  const flags = checkResult(native.getFlags(fd.number), 'fcntl', 'F_GETFL');
  const [device, inode, lengthBytes] = status;
  assert(device !== undefined && inode !== undefined && lengthBytes !== undefined, 'three words');
  return {
    device: BigInt.asUintN(64, device),
    inode: BigInt.asUintN(64, inode),
    lengthBytes: Number(lengthBytes),
    access: accessOf(flags),
  };
}

/**
 * Memory of the real operating system. Installs the SIGBUS guard of this process.
 *
 * @throws OsError when the guard cannot be installed.
 */
export function createMemoryOs(native: Calls): MemoryOs {
  checkResult(native.guardInstall(), 'sigaction', 'SIGBUS');
  return {
    pageBytes: native.pageBytes(),
    create: (name, lengthBytes) => createMemory(native, name, lengthBytes),
    addSeals(fd, seals) {
      checkResult(native.addSeals(fd.number, seals), 'fcntl', 'F_ADD_SEALS');
    },
    seals: (fd) => checkResult(native.getSeals(fd.number), 'fcntl', 'F_GET_SEALS'),
    identity: (fd) => identify(native, fd),
    isSameFile(fd, other) {
      const result = native.sameFile(fd.number, other.number);
      return result !== -EINVAL && checkResult(result, 'fcntl', 'F_DUPFD_QUERY') === 1;
    },
    truncate(fd, lengthBytes) {
      checkInteger(lengthBytes, 'ftruncate', 'length');
      checkResult(native.ftruncate(fd.number, lengthBytes), 'ftruncate', `to ${lengthBytes}`);
    },
    setMode(fd, mode) {
      checkResult(native.fchmod(fd.number, mode), 'fchmod', mode.toString(8));
    },
    reopenReadOnly: (fd) =>
      new Fd(native, checkResult(native.reopen(fd.number, O_RDONLY), 'open', '/proc/self/fd')),
    map: (fd, spec) => mapMemory(native, fd, spec),
    adviseHugePages(view) {
      // EINVAL where the kernel has none, or the view no whole page: as good without.
      native.adviseHugePages(view);
    },
    createArena: (lengthBytes) => createArena(native, lengthBytes),
    openArena: (id) => openArena(native, id),
  };
}
