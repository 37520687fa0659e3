// Who makes the calls, as far as memory is accounted: read from /proc, for the soft side to know
// what the kernel knows.
import { readFileSync } from 'node:fs';
import type { PayingProcess } from '../../src/iommu/soft/accounting.js';

const pageBytes = 4096;
const CAP_IPC_LOCK = 14n;
const CAP_SYS_RESOURCE = 24n;

export function readCaller(): PayingProcess {
  const status = readFileSync('/proc/self/status', 'utf8');
  const limits = readFileSync('/proc/self/limits', 'utf8');
  const capabilities = BigInt(`0x${/^CapEff:\s*(\S+)/m.exec(status)?.[1] ?? '0'}`);
  const limit = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1] ?? 'unlimited';
  return {
    userId: Number(/^Uid:\s*(\d+)/m.exec(status)?.[1]),
    processId: process.pid,
    lockedPagesMax: limit === 'unlimited' ? Infinity : Math.floor(Number(limit) / pageBytes),
    mayLockAll: ((capabilities >> CAP_IPC_LOCK) & 1n) === 1n,
    mayChooseMode: ((capabilities >> CAP_SYS_RESOURCE) & 1n) === 1n,
  };
}
