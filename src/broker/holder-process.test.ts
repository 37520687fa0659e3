// A process that has a device is ended when the device is taken back, and not before it had it.
import { afterEach, describe, expect, test } from 'vitest';
import { OsError } from '../base/errors.js';
import { silentLogger } from '../base/log.js';
import { FakeClock, FakeKernel, FakeProcesses } from '../os/testing/index.js';
import { HolderProcess } from './holder-process.js';

const pid = 4711;
const kill = { pid, signal: 9 };
const deadlines = { holderLeaveMs: 100, holderDieMs: 1000 };
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const kernels: FakeKernel[] = [];
const disposed: HolderProcess[] = [];

function setUp() {
  const kernel = new FakeKernel();
  const clock = new FakeClock();
  const processes = new FakeProcesses(kernel);
  const pidfd = processes.openPidfd(pid);
  const os = { processes, clock };
  const holder = new HolderProcess({ os, pidfd, deadlines, log: silentLogger });
  // What the holder needs it has itself.
  pidfd.close();
  kernels.push(kernel);
  disposed.push(holder);
  return { kernel, clock, processes, holder };
}

/** How a promise stands after a turn. */
async function stateOf(promise: Promise<unknown>): Promise<unknown> {
  await turn();
  const open = Promise.resolve('open');
  return Promise.race([
    promise.then(
      () => 'done',
      (error: { code: string }) => error.code,
    ),
    turn().then(() => open),
  ]);
}

afterEach(() => {
  for (const holder of disposed.splice(0)) holder[Symbol.dispose]();
  for (const kernel of kernels.splice(0)) expect(kernel.openCount).toBe(0);
});

describe('a process that was given the device', () => {
  test('is killed at once, and dead when its pidfd says so', async () => {
    const { kernel, processes, holder, clock } = setUp();
    holder.give();
    expect(holder.isLive).toBe(true);
    const ended = holder.end();
    expect(processes.signals).toEqual([kill]);
    expect(await stateOf(ended)).toBe('open');
    kernel.exit(pid);
    expect(await stateOf(ended)).toBe('done');
    expect(holder.isLive).toBe(false);
    expect(clock.pendingCount).toBe(0);
    await holder.end();
    expect(processes.signals).toEqual([kill]);
  });

  test('may end by itself when it gives the lease back', async () => {
    const { kernel, clock, processes, holder } = setUp();
    holder.give();
    holder.letLeave();
    const ended = holder.end();
    await clock.pass(99);
    expect(await stateOf(ended)).toBe('open');
    kernel.exit(pid);
    expect(await stateOf(ended)).toBe('done');
    expect(processes.signals).toEqual([]);
  });

  test('is killed when it stays all the same', async () => {
    const { kernel, clock, processes, holder } = setUp();
    holder.give();
    holder.letLeave();
    const ended = holder.end();
    await clock.pass(99);
    expect(processes.signals).toEqual([]);
    await clock.pass(1);
    expect(processes.signals).toEqual([kill]);
    kernel.exit(pid);
    expect(await stateOf(ended)).toBe('done');
  });

  test('holds the device as long as it does not die, and can be asked again', async () => {
    const { kernel, clock, processes, holder } = setUp();
    holder.give();
    const [first, second] = [holder.end(), holder.end()];
    expect(processes.signals).toEqual([kill]);
    const late = [first, second].map((ended) =>
      expect(ended).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' }),
    );
    await clock.pass(1000);
    await Promise.all(late);
    expect(holder.isLive).toBe(true);
    const again = holder.end();
    expect(processes.signals).toEqual([kill, kill]);
    kernel.exit(pid);
    expect(await stateOf(again)).toBe('done');
  });

  test('that may not be killed is waited for', async () => {
    const { kernel, processes, holder } = setUp();
    Object.assign(processes, {
      signal: () => {
        throw new OsError('EPERM', 'pidfd_send_signal');
      },
    });
    holder.give();
    const ended = holder.end();
    expect(await stateOf(ended)).toBe('open');
    kernel.exit(pid);
    expect(await stateOf(ended)).toBe('done');
  });

  test('is not killed when it is gone already', async () => {
    const { kernel, processes, holder } = setUp();
    holder.give();
    kernel.exit(pid);
    // Its pidfd has not been heard yet.
    const ended = holder.end();
    expect(await stateOf(ended)).toBe('done');
    expect(processes.signals).toEqual([]);
  });
});

test('a process that never had the device is left alone', async () => {
  const { processes, holder } = setUp();
  holder.letLeave();
  expect(holder.isLive).toBe(false);
  await holder.end();
  expect(processes.signals).toEqual([]);
});
