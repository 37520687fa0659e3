// What another process can and cannot do with memory that is being taken back from it.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errnoNumbers } from '../base/errno.js';
import type { Fd } from './fd.js';
import { createMemoryOs } from './memory.js';
import {
  F_SEAL_FUTURE_WRITE,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
} from './memory-types.js';
import { loadNative } from './native.js';
import { errnoThrown } from './testing/memory-contract.js';
import type { PeerCall } from './testing/memory-peer.js';
import { TestProcess } from './testing/memory-process.js';

const os = createMemoryOs(loadNative());
const lengthBytes = 8192;
const owned = { offsetBytes: 0, lengthBytes, writable: true, guard: 'ones' } as const;
const allOnes = 0xffff_ffff;
const O_RDWR = 2;
const O_TRUNC = 0x200;
const nobody = 65_534;
const { EACCES, EPERM } = errnoNumbers;

let fd: Fd;
let peer: TestProcess;

async function ask(call: PeerCall): Promise<number> {
  return (await peer.call(call)).result;
}

const mapWritable = { do: 'map', fd: 4, bytes: lengthBytes, writable: true } as const;

function start(given: Fd): void {
  peer = new TestProcess('memory-peer', [], [given]);
}

beforeEach(() => {
  fd = os.create('lessor-test', lengthBytes);
});

afterEach(() => {
  peer[Symbol.dispose]();
  fd.close();
});

describe('memory that its owner sealed against growth and truncated', () => {
  beforeEach(async () => {
    os.addSeals(fd, F_SEAL_GROW | F_SEAL_SEAL);
    start(fd);
    expect(await ask(mapWritable)).toBe(0);
    expect(await ask({ do: 'store', mapping: 0, index: 9, value: 90 })).toBe(0);
    expect(await ask({ do: 'load', mapping: 0, index: 9 })).toBe(90);
    os.truncate(fd, 0);
  });

  it('reads ones where it was mapped, and where it is mapped anew', async () => {
    expect(await ask({ do: 'load', mapping: 0, index: 9 })).toBe(allOnes);
    expect(await ask(mapWritable)).toBe(1);
    expect(await ask({ do: 'load', mapping: 1, index: 2047 })).toBe(allOnes);
  });

  it('cannot be grown again by anyone', async () => {
    expect(await ask({ do: 'truncate', fd: 4, lengthBytes: 4096 })).toBe(-EPERM);
    const reopened = await ask({ do: 'reopen', fd: 4, flags: O_RDWR });
    expect(await ask({ do: 'truncate', fd: reopened, lengthBytes: 1 })).toBe(-EPERM);
    expect(errnoThrown(() => os.truncate(fd, lengthBytes))).toBe('EPERM');
  });

  it('takes no more seals', async () => {
    const seals = [F_SEAL_SHRINK, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE];
    for (const seal of seals)
      expect(await ask({ do: 'addSeals', fd: 4, seals: seal })).toBe(-EPERM);
  });

  it('keeps what the other process stores from its owner', async () => {
    using mapping = os.map(fd, owned);
    await ask({ do: 'store', mapping: 0, index: 0, value: 5 });
    expect(await ask({ do: 'load', mapping: 0, index: 0 })).toBe(5);
    expect(new Uint32Array(mapping.buffer)[0]).toBe(allOnes);
  });
});

describe('memory shared while it is not yet sealed', () => {
  beforeEach(() => start(fd));

  it('can be truncated by the other process, which the owner survives', async () => {
    using mapping = os.map(fd, owned);
    expect(await ask({ do: 'truncate', fd: 4, lengthBytes: 0 })).toBe(0);
    expect(new Uint32Array(mapping.buffer)[0]).toBe(allOnes);
    expect(mapping.revoked).toBe(true);
  });

  it('can be truncated by opening it, which the owner survives', async () => {
    using mapping = os.map(fd, { ...owned, guard: 'zeros' });
    expect(await ask({ do: 'reopen', fd: 4, flags: O_RDWR | O_TRUNC })).toBeGreaterThan(0);
    expect(new Uint32Array(mapping.buffer)[0]).toBe(0);
    expect(mapping.revoked).toBe(true);
  });

  it('cannot be taken back once the other process sealed it against shrinking', async () => {
    expect(await ask({ do: 'addSeals', fd: 4, seals: F_SEAL_SHRINK | F_SEAL_SEAL })).toBe(0);
    expect(errnoThrown(() => os.truncate(fd, 0))).toBe('EPERM');
    expect(errnoThrown(() => os.addSeals(fd, F_SEAL_GROW))).toBe('EPERM');
    expect(os.seals(fd) & 0x1f).toBe(F_SEAL_SHRINK | F_SEAL_SEAL);
  });

  it('keeps early mappings alone writable under the seals of enable', async () => {
    expect(await ask(mapWritable)).toBe(0);
    os.addSeals(fd, F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    expect(os.seals(fd) & 0x1f).toBe(0x15);
    expect(await ask(mapWritable)).toBe(-EPERM);
    expect(await ask({ ...mapWritable, writable: false })).toBe(1);
    await ask({ do: 'store', mapping: 0, index: 1, value: 4 });
    expect(await ask({ do: 'load', mapping: 1, index: 1 })).toBe(4);
    os.truncate(fd, 0);
    expect(await ask({ do: 'load', mapping: 0, index: 1 })).toBe(allOnes);
    expect(await ask({ do: 'load', mapping: 1, index: 1 })).toBe(allOnes);
  });
});

describe('a read-only descriptor', () => {
  it('cannot be mapped writable by the other process', async () => {
    using readOnly = os.reopenReadOnly(fd);
    start(readOnly);
    expect(await ask(mapWritable)).toBe(-EACCES);
    expect(await ask({ ...mapWritable, writable: false })).toBe(0);
  });

  it.skipIf(process.getuid?.() !== 0)(
    'cannot be opened again for writing by another uid, because of the mode (needs root)',
    async () => {
      using readOnly = os.reopenReadOnly(fd);
      start(readOnly);
      await ask({ do: 'setuid', uid: nobody });
      expect(await ask({ do: 'reopen', fd: 4, flags: O_RDWR })).toBeGreaterThan(0);
      os.setMode(fd, 0o400);
      expect(await ask({ do: 'reopen', fd: 4, flags: O_RDWR })).toBe(-EACCES);
    },
  );
});
