import { afterEach, describe, expect, it } from 'vitest';
import type { Fd } from './fd.js';
import { startIoctlThread } from './ioctl-thread.js';
import type { IoctlThread } from './ioctl-thread-types.js';
import { createMemoryOs } from './memory.js';
import { loadNative } from './native.js';

const native = loadNative();
const memory = createMemoryOs(native);

// asm-generic/ioctls.h
const FIONREAD = 0x541b;
const TCGETS = 0x5401;

let fd: Fd;
let thread: IoctlThread;

function start(): void {
  fd = memory.create('lessor-test', 0x12345);
  thread = startIoctlThread(fd);
}

afterEach(async () => {
  await thread[Symbol.asyncDispose]();
  fd.close();
});

describe('the thread of a descriptor', () => {
  it('makes calls in order and writes their answers back, into the view alone', async () => {
    start();
    const around = new Uint8Array(12).fill(0xaa);
    const order: number[] = [];
    const calls = [1, 2, 3].map(async (number) => {
      await thread.call(
        'FIONREAD',
        FIONREAD,
        number === 2 ? around.subarray(4, 8) : new Uint8Array(4),
      );
      order.push(number);
    });
    expect(around[4]).toBe(0xaa);
    await Promise.all(calls);
    expect(order).toEqual([1, 2, 3]);
    expect([...new Uint32Array(around.buffer)]).toEqual([0xaaaa_aaaa, 0x12345, 0xaaaa_aaaa]);
  });

  it('rejects with the errno and the name of the call, and goes on', async () => {
    start();
    const refused = thread.call('TCGETS', TCGETS, new Uint8Array(64));
    await expect(refused).rejects.toMatchObject({ errno: 'ENOTTY', syscall: 'TCGETS' });
    expect(await thread.call('FIONREAD', FIONREAD, new Uint8Array(4))).toBe(0);
  });

  it('answers what was asked before it is disposed, and refuses what comes after', async () => {
    start();
    const before = thread.call('FIONREAD', FIONREAD, new Uint8Array(4));
    const disposed = thread[Symbol.asyncDispose]();
    const after = thread.call('FIONREAD', FIONREAD, new Uint8Array(4));
    await expect(after).rejects.toMatchObject({ code: 'FUNCTION_GONE' });
    expect(await before).toBe(0);
    await disposed;
    expect(await thread.ended).toContain('ended');
  });

  it('rejects what is pending when it dies, and all that comes after', async () => {
    fd = memory.create('lessor-test', 4096);
    thread = startIoctlThread(fd, new URL('./testing/dying-ioctl-worker.js', import.meta.url));
    const calls = [1, 2].map(() => thread.call('FIONREAD', FIONREAD, new Uint8Array(4)));
    const detail = "the thread of the device's calls failed: Error: dying as asked";
    for (const call of calls) {
      await expect(call).rejects.toMatchObject({ code: 'FUNCTION_GONE', message: detail });
    }
    expect(await thread.ended).toBe(detail);
    const after = thread.call('FIONREAD', FIONREAD, new Uint8Array(4));
    await expect(after).rejects.toMatchObject({ code: 'FUNCTION_GONE' });
  });
});
