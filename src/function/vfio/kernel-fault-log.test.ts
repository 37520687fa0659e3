import { describe, expect, it } from 'vitest';
import type { Errno } from '../../base/errno.js';
import { OsError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { silentLogger } from '../../base/log.js';
import { Fd } from '../../os/fd.js';
import type { DmaFault } from '../types.js';
import { type KernelFaultLogParts, openKernelFaultLog } from './kernel-fault-log.js';

function line(iova: number, device = '0000:00:05.0'): string {
  const address = `0x${iova.toString(16)}`;
  return `3,302,9000000,-;DMAR: [DMA Read NO_PASID] Request device [${device}] fault addr ${address} [fault reason 0x06] PTE Read access is not set\n`;
}

/** A log as the kernel offers it: a record, or an errno, for each read. */
class FakeLog {
  readonly waiting: (string | Errno)[] = [];
  readonly faults: DmaFault[] = [];
  openErrno: Errno | undefined;
  watchErrno: Errno | undefined;
  closeCount = 0;
  readsInTurn: number[] = [];
  #onReadable: (() => void) | undefined;

  get isWatched(): boolean {
    return this.#onReadable !== undefined;
  }

  readonly parts: KernelFaultLogParts = {
    address: '0000:00:05.0',
    log: silentLogger,
    onFault: (fault) => this.faults.push(fault),
    ioctl: {
      open: (path) => {
        if (this.openErrno !== undefined) throw new OsError(this.openErrno, 'open', path);
        const close = (): number => {
          this.closeCount += 1;
          return 0;
        };
        return new Fd({ close, duplicate: () => -1 }, 1_000_000);
      },
      read: (_fd, into) => {
        this.readsInTurn[this.readsInTurn.length - 1]! += 1;
        const next = this.waiting.shift() ?? 'EAGAIN';
        if (/^E[A-Z]+$/.test(next)) throw new OsError(next as Errno, 'read');
        return Buffer.from(into.buffer, into.byteOffset, into.length).write(next);
      },
    },
    events: {
      watch: (_fd, onReadable) => {
        if (this.watchErrno !== undefined) throw new OsError(this.watchErrno, 'poll');
        this.#onReadable = onReadable;
        return {
          [Symbol.dispose]: () => {
            this.#onReadable = undefined;
          },
        };
      },
    },
  };

  turn(): void {
    this.readsInTurn.push(0);
    this.#onReadable?.();
  }

  async open() {
    const opening = openKernelFaultLog(this.parts);
    this.turn();
    return opening;
  }
}

async function opened(log: FakeLog) {
  const result = await log.open();
  if (result.type !== 'open') throw new Error(result.reason);
  return result.faults;
}

describe('the faults in the log of the kernel', () => {
  it('are told from now on, of one function alone', async () => {
    const log = new FakeLog();
    log.waiting.push(line(0x1000), '6,1,0,-;something else\n');
    using _faults = await opened(log);
    expect(log.faults).toEqual([]);
    log.waiting.push(line(0x2000), line(0x3000, '0000:00:06.0'), line(0x4000));
    log.turn();
    const rest = { pasid: undefined, access: 'read', reason: 'not mapped' };
    expect(log.faults).toEqual([
      { iova: 0x2000, ...rest },
      { iova: 0x4000, ...rest },
    ]);
  });

  it('go on after records were lost', async () => {
    const log = new FakeLog();
    using faults = await opened(log);
    log.waiting.push(line(0x2000), 'EPIPE', line(0x3000));
    log.turn();
    expect(log.faults.map(({ iova }) => iova)).toEqual([0x2000, 0x3000]);
    expect(faults.gapCount).toBe(1);
  });

  it('are looked for in so many records a turn, and the rest in later ones', async () => {
    const log = new FakeLog();
    using _faults = await opened(log);
    const most = limits.kernelLogRecordsPerTurnMax;
    log.waiting.push(...Array.from({ length: most + 1 }, (_, at) => line(at * 0x1000)));
    log.turn();
    expect([log.readsInTurn.at(-1), log.faults.length]).toEqual([most, most]);
    log.turn();
    expect([log.readsInTurn.at(-1), log.faults.length]).toEqual([2, most + 1]);
  });

  it('end when they are disposed, in the middle of a turn too', async () => {
    const log = new FakeLog();
    const faults = await opened(log);
    log.waiting.push(line(0x2000), line(0x3000));
    log.faults.push = () => {
      faults[Symbol.dispose]();
      return 0;
    };
    log.turn();
    faults[Symbol.dispose]();
    expect([log.isWatched, log.closeCount, log.waiting.length]).toEqual([false, 1, 1]);
  });

  it('end by themselves when the log cannot be read any more', async () => {
    const log = new FakeLog();
    await opened(log);
    log.waiting.push('EIO');
    log.turn();
    expect([log.isWatched, log.closeCount]).toEqual([false, 1]);
  });
});

describe('a log that cannot be had', () => {
  it.each([
    ['ENOENT', 'there is no /dev/kmsg'],
    ['EACCES', 'not readable for this user'],
    ['EPERM', 'CAP_SYSLOG'],
    ['EIO', 'EIO'],
  ] as const)('has a reason: %s', async (errno, words) => {
    const log = new FakeLog();
    log.openErrno = errno;
    const result = await log.open();
    expect(result).toEqual({ type: 'absent', reason: expect.stringContaining(words) });
  });

  it('is closed when its first read fails', async () => {
    const log = new FakeLog();
    log.waiting.push('EPERM');
    expect(await log.open()).toMatchObject({ type: 'absent' });
    expect([log.isWatched, log.closeCount]).toEqual([false, 1]);
  });

  it('is closed when it cannot be watched', async () => {
    const log = new FakeLog();
    log.watchErrno = 'EPERM';
    expect(await log.open()).toMatchObject({ type: 'absent' });
    expect(log.closeCount).toBe(1);
  });
});
