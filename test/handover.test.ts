// `lessor acquire -- command`: the command holds the lease, in a world as a shell leaves it.
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, connect, connectAdmin } from '../src/client/index.js';
import { Bench, eventually, type Finished, patienceMs, type Running } from './support/lessor.js';

const bench = new Bench();
const socket = join(bench.directory, 'mqdma0.sock');
const child = fileURLToPath(new URL('./support/handover-child.js', import.meta.url));
let client: Client;

beforeAll(async () => {
  await bench.serve();
  client = await connect({ socket });
}, patienceMs);

afterAll(async () => {
  client.close();
  await bench.clear();
}, patienceMs);

/** Runs a shell script that holds a lease. */
const shell = (script: string, ...options: string[]): Promise<Finished> =>
  bench.run(['acquire', ...options, '--', 'sh', '-c', `${script}\ntrue`]);

/** Descriptors that a command finds which holds nothing: what the test itself was started with. */
async function inherited(): Promise<string[]> {
  const done = await bench.run([], { program: ['sh', '-c', 'ls /proc/$$/fd; true'] });
  return done.stdout.trimEnd().split('\n');
}

const noLeaseLeft = (): Promise<true> =>
  eventually(async () => ((await client.leases()).length === 0 ? true : undefined));

describe('what the command finds', { timeout: patienceMs }, () => {
  test('two descriptors by name, the lease in words, and its own pid', async () => {
    const names = ['FDS', 'FDNAMES', 'PID'].map((name) => `echo $LISTEN_${name}`).join('; ');
    const process = bench.start([
      'acquire',
      '--slice',
      'queue2',
      '--',
      'sh',
      '-c',
      `${names}; echo $$; echo "$LESSOR_LEASE"`,
    ]);
    const { status, stdout, stderr } = await process.finished;
    const [fds, fdNames, pid, own, lease = ''] = stdout.split('\n');
    expect({ status, stderr, fds, fdNames }).toEqual({
      status: 0,
      stderr: '',
      fds: '2',
      fdNames: 'lease:control',
    });
    expect([pid, own]).toEqual([String(process.pid), String(process.pid)]);
    expect(JSON.parse(lease)).toMatchObject({ slice: 'queue2', pid: process.pid });
  });

  test('descriptors 0 to 4 and none of lessor beyond; 3 and 4 are sockets', async () => {
    const { stdout } = await shell('ls /proc/$$/fd; readlink /proc/$$/fd/3 /proc/$$/fd/4');
    const lines = stdout.trimEnd().split('\n');
    const socket = expect.stringMatching(/^socket:/);
    expect(lines.slice(-2)).toEqual([socket, socket]);
    expect(lines.slice(0, -2).sort()).toEqual([...(await inherited()), '3', '4'].sort());
  });

  test('standard streams that block and stay open over exec', async () => {
    const { stdout } = await shell('for fd in 0 1 2; do grep flags /proc/$$/fdinfo/$fd; done');
    const flags = [...stdout.matchAll(/^flags:\s+(\d+)$/gm)].map(([, octal = '']) =>
      Number.parseInt(octal, 8),
    );
    expect(flags).toHaveLength(3);
    for (const flag of flags) {
      expect(flag & 0o4000).toBe(0);
      expect(flag & 0o2000000).toBe(0);
    }
  });

  test('default signals, none blocked, and the limits that lessor was started with', async () => {
    const limit = ['sh', '-c', 'ulimit -S -n'];
    const [{ stdout }, before] = await Promise.all([
      shell('grep -E "SigIgn|SigBlk" /proc/self/status; ulimit -S -n'),
      bench.run([], {
        program: [
          'sh',
          '-c',
          'ulimit -S -n 777; exec "$0" "$@"',
          process.execPath,
          fileURLToPath(new URL('../../bin/lessor.js', import.meta.url)),
          'acquire',
          '--',
          ...limit,
        ],
      }),
    ]);
    expect(stdout).toMatch(/^SigBlk:\s+0+$/m);
    expect(stdout).toMatch(/^SigIgn:\s+0+$/m);
    expect(stdout).toMatch(/\n\d+\n$/);
    expect(before.status).toBe(0);
    expect(Number(before.stdout)).toBeGreaterThan(0);
  });
});

describe('how it ends', { timeout: patienceMs }, () => {
  test("the exit status is the command's", async () => {
    expect(await shell('exit 7')).toMatchObject({ status: 7, stderr: '' });
    await noLeaseLeft();
  });

  test('a command that is killed gives its slice back', async () => {
    const process = bench.start(['acquire', '--', 'sleep', '1000']);
    await eventually(async () => {
      const [lease] = await client.leases();
      return lease?.pid === process.pid ? true : undefined;
    });
    expect(await process.stop('SIGKILL')).toMatchObject({ status: null, signal: 'SIGKILL' });
    await noLeaseLeft();
  });

  test('a command that cannot be found or executed costs no lease', async () => {
    const granted: string[] = [];
    const monitor = client.monitor(({ type }) => granted.push(type));
    const plain = join(bench.directory, 'plain.txt');
    writeFileSync(plain, '#!/bin/sh\n');
    for (const name of ['no-such-command', plain, bench.directory, '']) {
      const done = await bench.run(['acquire', '--', name]);
      expect(done).toMatchObject({ status: 127, stdout: '' });
      expect(done.stderr).toMatch(/^lessor: execve( .*)?: (ENOENT|EACCES)\n$/);
    }
    // Whoever is told nothing of the above is told of this.
    await (await client.acquire({ memoryBytes: 4096 })).close();
    await eventually(async () => (granted.includes('ended') ? true : undefined));
    expect(granted.filter((type) => type === 'granted')).toHaveLength(1);
    monitor.close();
    await monitor.done;
  });

  test('one that the kernel refuses after all gives its slice back', async () => {
    const broken = join(bench.directory, 'broken');
    writeFileSync(broken, '\x7fELF, but not really');
    chmodSync(broken, 0o755);
    const done = await bench.run(['acquire', '--', broken]);
    expect(done).toMatchObject({ status: 127, stdout: '' });
    expect(done.stderr).toContain('ENOEXEC');
    await noLeaseLeft();
  });
});

/** Starts a program that works with its lease. */
async function worker(): Promise<{ process: Running; facts: Record<string, unknown> }> {
  const started = bench.start(['acquire', '--memory', '16m', '--', process.execPath, child]);
  const [line] = await started.saying(/\{"pid".*\n/);
  return { process: started, facts: JSON.parse(line) };
}

describe('Lease.fromEnvironment', { timeout: patienceMs }, () => {
  test('makes the lease work, once, and passes nothing on', async () => {
    const { process, facts } = await worker();
    expect(facts).toEqual({
      pid: process.pid,
      slice: expect.stringMatching(/^queue/),
      copied: true,
      namesLeft: [],
      again: 'INVALID_ARGUMENT',
      fdsOfChild: await inherited(),
    });
    await process.stop('SIGKILL');
    await noLeaseLeft();
  });

  test('hears that it is revoked, and why', async () => {
    const { process } = await worker();
    const lease = (await client.leases()).find(({ pid }) => pid === process.pid);
    const admin = await connectAdmin({ socket: join(bench.directory, 'mqdma0.admin.sock') });
    await admin.revoke(lease?.id ?? '', { reason: 'rebalancing', graceMs: 200 });
    admin.close();
    const { status, stdout, stderr } = await process.finished;
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const told = stdout
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => JSON.parse(line));
    expect(told).toEqual([
      { revoking: expect.stringContaining('operator: rebalancing') },
      { ended: expect.stringContaining('operator: rebalancing'), value: 0xffff_ffff },
    ]);
  });

  test('says so where nothing was passed', async () => {
    const done = await bench.run([], { program: [process.execPath, child] });
    expect(done.status).not.toBe(0);
    expect(done.stderr).toContain('INVALID_ARGUMENT');
  });
});
