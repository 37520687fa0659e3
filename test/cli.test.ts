// The command line, as processes: what it prints where, and how it ends.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, connect, connectAdmin } from '../src/client/index.js';
import { Bench, eventually, type Finished, patienceMs, type Running } from './support/lessor.js';
import { VmMonitor } from './support/vm-monitor.js';
import { rootPath } from './tools/root.js';

const bench = new Bench();
const socket = join(bench.directory, 'mqdma0.sock');
let broker: Running;
let client: Client;

beforeAll(async () => {
  broker = await bench.serve(['--fault-injection']);
  client = await connect({ socket });
}, patienceMs);

afterAll(async () => {
  client.close();
  await bench.clear();
}, patienceMs);

/** Starts `lessor acquire` and waits until it holds. */
async function holder(...words: string[]): Promise<{ process: Running; id: string }> {
  const process = bench.start(['acquire', ...words]);
  const [, id = ''] = await process.saying(/holding \S+ as (\w+)/, 'stderr');
  return { process, id };
}

function pureJson(done: Finished): unknown {
  expect(done).toMatchObject({ status: 0, stderr: '' });
  return JSON.parse(done.stdout);
}

const noLeaseLeft = (): Promise<true> =>
  eventually(async () => ((await client.leases()).length === 0 ? true : undefined));

describe('serve', { timeout: patienceMs }, () => {
  test('says on one line where it listens, with sockets for the right people', () => {
    const ready = JSON.parse(broker.stdout);
    expect(broker.stdout.match(/\n/g)).toHaveLength(1);
    expect(ready).toEqual({ socket, pid: broker.pid });
    expect(statSync(socket).mode & 0o777).toBe(0o660);
    expect(statSync(join(bench.directory, 'mqdma0.admin.sock')).mode & 0o777).toBe(0o600);
    expect(broker.stderr).toBe('');
  });

  test('a second broker on the same path is refused, and the first one lives on', async () => {
    const second = await bench.run(['serve']);
    expect(second).toMatchObject({ status: 3, stdout: '' });
    expect(second.stderr).toContain('BROKER_RUNNING');
    expect((await client.info()).pid).toBe(broker.pid);
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('%s ends it in order', async (signal) => {
    const own = join(bench.directory, 'ends');
    const env = { LESSOR_RUN_DIR: own };
    const short = await bench.serve([], { env });
    const held = bench.start(['acquire'], { env });
    await held.saying(/holding/, 'stderr');
    const done = await short.stop(signal);
    expect(done).toMatchObject({ status: 0, signal: null, stderr: '' });
    expect(existsSync(join(own, 'mqdma0.sock'))).toBe(false);
    expect(existsSync(join(own, 'mqdma0.admin.sock'))).toBe(false);
    const told = await held.finished;
    expect(told.status).toBe(6);
    expect(told.stderr).toContain('broker stop');
  });

  test('a log that nobody reads any more ends nothing', async () => {
    const own = join(bench.directory, 'unread');
    const env = { LESSOR_RUN_DIR: own };
    const unread = await bench.serve(['--log', 'debug'], { env });
    unread.child.stderr?.destroy();
    for (const words of [['status'], ['acquire', '--ttl', '1s'], ['status']]) {
      expect((await bench.run(words, { env })).status).toBe(words[0] === 'acquire' ? 6 : 0);
    }
    expect((await unread.stop()).status).toBe(0);
  });

  test('a socket that a dead broker left is taken over', async () => {
    const own = join(bench.directory, 'killed');
    const env = { LESSOR_RUN_DIR: own };
    const first = await bench.serve([], { env });
    await first.stop('SIGKILL');
    expect(existsSync(join(own, 'mqdma0.sock'))).toBe(true);
    const second = await bench.serve([], { env });
    expect((await second.stop()).status).toBe(0);
  });

  test('cooperative leases need their switch', async () => {
    const env = { LESSOR_RUN_DIR: join(bench.directory, 'cooperative') };
    const strict = await bench.serve(['--isolation', 'cooperative'], { env });
    const denied = await bench.run(['acquire'], { env });
    expect(denied.status).toBe(4);
    expect(denied.stderr).toContain('DENIED');
    expect(denied.stderr).toContain('--allow-cooperative');
    await strict.stop();
    await bench.serve(['--isolation', 'cooperative', '--allow-cooperative'], { env });
    const held = bench.start(['acquire', '--json'], { env });
    await held.saying(/"isolation": "cooperative"/);
    expect((await held.stop('SIGINT')).status).toBe(0);
  });

  test('fault injection needs its switch', async () => {
    const own = join(bench.directory, 'plain');
    const plain = await bench.serve([], { env: { LESSOR_RUN_DIR: own } });
    const admin = await connectAdmin({ socket: join(own, 'mqdma0.admin.sock') });
    await expect(admin.inject('queue0', 'never-idle', 1)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    });
    admin.close();
    await plain.stop();
  });

  test('a folder that others can write is no place for sockets', async () => {
    const open = join(bench.directory, 'open');
    mkdirSync(open, { mode: 0o777 });
    const { chmodSync } = await import('node:fs');
    chmodSync(open, 0o777);
    const refused = await bench.run(['serve'], { env: { LESSOR_RUN_DIR: open } });
    expect(refused.status).toBe(4);
    expect(refused.stderr).toContain('DENIED');
  });
});

describe('listings', { timeout: patienceMs }, () => {
  test('status, functions, leases and show agree, as JSON on stdout alone', async () => {
    const { process, id } = await holder('--slice', 'queue1', '--memory', '64k');
    const [status, functions, leases, show] = await Promise.all([
      bench.run(['status', '--json']),
      bench.run(['functions', '--json']),
      bench.run(['leases', '--json']),
      bench.run(['show', id.slice(0, 6), '--json']),
    ]);
    const record = { id, slice: 'queue1', iovaBytes: 65_536, state: 'active', pid: process.pid };
    expect(pureJson(status)).toMatchObject({ pid: broker.pid, leases: [record], quarantined: [] });
    expect(pureJson(functions)).toMatchObject({
      function: { driver: 'mqdma', isolation: 'pasid' },
      slices: [{ state: 'free' }, { name: 'queue1', state: 'leased', lease: id }, {}, {}],
    });
    expect(pureJson(leases)).toMatchObject([record]);
    expect(pureJson(show)).toMatchObject(record);
    await process.stop('SIGINT');
    await noLeaseLeft();
  });

  test('tables for people line up', async () => {
    const { process, id } = await holder();
    const [status, functions, leases, show] = await Promise.all([
      bench.run(['status']),
      bench.run(['functions']),
      bench.run(['leases']),
      bench.run(['show', id]),
    ]);
    expect(status.stdout).toMatch(/^slices +4: 3 free, 1 leased, 0 in quarantine$/m);
    expect(show.stdout).toMatch(new RegExp(`^lease +${id}$`, 'm'));
    for (const { stdout } of [functions, leases]) {
      const [head = '', ...rows] = stdout.trimEnd().split('\n');
      const starts = [...head.matchAll(/(?<=^| {2})\S/g)].map(({ index }) => index);
      expect(starts.length).toBeGreaterThan(4);
      for (const row of rows) {
        for (const start of starts.slice(1, -1)) expect(row[start - 1]).toBe(' ');
      }
    }
    await process.stop('SIGINT');
    await noLeaseLeft();
  });

  test("an id that fits nothing is the caller's mistake", async () => {
    const done = await bench.run(['show', 'feedface']);
    expect(done).toMatchObject({ status: 2, stdout: '' });
    expect(done.stderr).toContain('LEASE_NOT_FOUND');
  });

  test('a reader that has seen enough is no failure', async () => {
    const listing = bench.start(['functions']);
    listing.child.stdout?.destroy();
    expect(await listing.finished).toMatchObject({ status: 0, stderr: '' });
    const events = bench.start(['events', '--json']);
    events.child.stdout?.destroy();
    const noise = setInterval(
      () => void client.acquire({ memoryBytes: 4096 }).then((lease) => lease.close()),
      200,
    );
    const done = await events.finished;
    clearInterval(noise);
    expect(done).toMatchObject({ status: 0, stderr: '' });
    await noLeaseLeft();
  });

  test("events tells a lease's life, a line each", async () => {
    const events = bench.start(['events', '--json']);
    const people = bench.start(['events']);
    // Listening has no sign of its own: leases come and go until both have seen one.
    await eventually(async () => {
      const lease = await client.acquire({ memoryBytes: 4096 });
      await lease.close();
      const seen = [events, people].every(({ stdout }) => /ended/.test(stdout));
      return seen ? true : undefined;
    });
    const done = await events.stop('SIGINT');
    const lines = done.stdout.trimEnd().split('\n');
    const all = lines.map((line) => JSON.parse(line) as { type: string; phase?: string });
    for (const type of ['granted', 'enabled', 'phase', 'ended']) {
      expect(all.map((event) => event.type)).toContain(type);
    }
    const phases = ['fence', 'detach', 'zap', 'quiesce', 'disarm', 'ungrant', 'unmap'];
    expect(all.flatMap(({ phase }) => phase ?? [])).toEqual(expect.arrayContaining(phases));
    expect(done).toMatchObject({ status: 0, stderr: '' });
    const told = await people.stop('SIGTERM');
    expect(told).toMatchObject({ status: 0, stderr: '' });
    expect(told.stdout).toMatch(/^\d{4}-\S+Z {2}ended +\w{8} {2}queue\d/m);
  });
});

describe('acquire in the foreground', { timeout: patienceMs }, () => {
  test.each(['SIGINT', 'SIGTERM'] as const)('%s gives the lease back', async (signal) => {
    const { process } = await holder('--memory', '1m', '--vectors', '1');
    expect(await client.leases()).toMatchObject([{ pid: process.pid, vectors: 1 }]);
    const done = await process.stop(signal);
    expect(done).toMatchObject({ status: 0, stdout: '' });
    expect(done.stderr).toContain('ended: released');
    expect(await client.leases()).toEqual([]);
  });

  test('SIGKILL gives it back too', async () => {
    const { process } = await holder();
    await process.stop('SIGKILL');
    await noLeaseLeft();
  });

  test('--json prints the lease, --ttl ends it', async () => {
    const process = bench.start(['acquire', '--json', '--ttl', '1s', '--slice', 'queue2']);
    const done = await process.finished;
    expect(JSON.parse(done.stdout)).toMatchObject({ slice: 'queue2', holder: 'acquirer' });
    expect(done.status).toBe(6);
    expect(done.stderr).toContain('expired');
  });

  // Not in the run directory: sockets there are brokers.
  const monitorDirectory = mkdtempSync(join(tmpdir(), 'lessor-vm-'));
  afterAll(() => rmSync(monitorDirectory, { recursive: true }));

  test('--listen says what QEMU is to be told, and takes its socket along', async () => {
    const path = join(monitorDirectory, 'vm.sock');
    const words = ['acquire', '--listen', path, '--memory', '2m'];
    const process = bench.start(words);
    const [, argument = ''] = await process.saying(/-device '(.*)'/, 'stderr');
    expect(JSON.parse(argument)).toEqual({
      driver: 'vfio-user-pci',
      socket: { type: 'unix', path },
    });
    expect(process.stderr).toContain('memory-backend-memfd,id=lessor-ram,share=on,size=2097152');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await client.leases()).toMatchObject([{ revocation: 'orphan', pid: process.pid }]);
    const done = await process.stop('SIGINT');
    expect(done).toMatchObject({ status: 0, stdout: '' });
    expect(existsSync(path)).toBe(false);
    const again = bench.start([...words, '--json']);
    await again.saying(/^}/m);
    expect(JSON.parse(again.stdout)).toMatchObject({
      listen: path,
      qemu: expect.arrayContaining(['-device', argument]),
    });
    using monitor = await VmMonitor.connect(path);
    await again.saying(/has the lease/, 'stderr');
    await monitor.realize();
    await monitor.command(6);
    monitor[Symbol.dispose]();
    expect(await again.finished).toMatchObject({ status: 0 });
    expect(again.stderr).toContain('the VM monitor closed its connection');
    expect(existsSync(path)).toBe(false);
  });

  test('--listen exits 6 when revoked, and goes with no command', async () => {
    const path = join(monitorDirectory, 'vm.sock');
    const process = bench.start(['acquire', '--listen', path]);
    await process.saying(/-device/, 'stderr');
    const [lease] = await client.leases();
    await bench.run(['revoke', lease?.id ?? '']);
    expect((await process.finished).status).toBe(6);
    expect(existsSync(path)).toBe(false);
    const both = await bench.run(['acquire', '--listen', path, '--', 'true']);
    expect(both).toMatchObject({ status: 2, stdout: '' });
  });

  test('busy names the holder and exits 5; --wait waits for the slice', async () => {
    const first = await holder('--slice', 'queue0');
    const busy = await bench.run(['acquire', '--slice', 'queue0']);
    expect(busy.status).toBe(5);
    expect(busy.stderr).toContain('NO_FREE_SLICE');
    expect(busy.stderr).toContain(String(first.process.pid));
    const short = await bench.run(['acquire', '--slice', 'queue0', '--wait', '50ms']);
    expect(short.status).toBe(5);
    const waiting = bench.start(['acquire', '--slice', 'queue0', '--wait', '60s']);
    await eventually(async () => {
      const waits = (await client.leases()).some(({ pid }) => pid === waiting.pid);
      return waits ? undefined : true;
    });
    await first.process.stop('SIGINT');
    await waiting.saying(/holding queue0/, 'stderr');
    expect((await waiting.stop('SIGINT')).status).toBe(0);
  });

  test('words that name nothing exit 2, terms that cannot be had exit 4', async () => {
    const [kind, slice, isolation] = await Promise.all([
      bench.run(['acquire', '--kind', 'toaster']),
      bench.run(['acquire', '--slice', 'queue99']),
      bench.run(['acquire', '--revocation', 'stronger']),
    ]);
    expect(kind).toMatchObject({ status: 2 });
    expect(kind.stderr).toContain('UNKNOWN_KIND');
    expect(slice).toMatchObject({ status: 2 });
    expect(slice.stderr).toContain('UNKNOWN_SLICE');
    expect(isolation).toMatchObject({ status: 2 });
    expect(isolation.stderr).toContain('INVALID_ARGUMENT');
  });

  test('revoke tells the holder why, who exits 6', async () => {
    const { process, id } = await holder();
    const done = await bench.run(['revoke', id.slice(0, 8), '--reason', 'maintenance']);
    expect(done).toMatchObject({ status: 0, stdout: '' });
    const told = await process.finished;
    expect(told.status).toBe(6);
    expect(told.stderr).toContain('operator: maintenance');
    await noLeaseLeft();
  });

  test('release ends a lease from outside', async () => {
    const { process, id } = await holder();
    const done = await bench.run(['release', id.slice(0, 8)]);
    expect(done).toMatchObject({ status: 0, stdout: '' });
    expect((await process.finished).stderr).toContain('ended: released');
    expect(await client.leases()).toEqual([]);
  });
});

describe('operator', { timeout: patienceMs }, () => {
  test('a slice that cannot be proved idle is quarantined until freed by word', async () => {
    const admin = await connectAdmin({ socket: join(bench.directory, 'mqdma0.admin.sock') });
    const { process } = await holder('--slice', 'queue3');
    await admin.inject('queue3', 'never-idle', 1);
    await process.stop('SIGKILL');
    await eventually(async () => ((await client.info()).quarantined.length > 0 ? true : undefined));
    const listed = await bench.run(['quarantine']);
    expect(listed).toMatchObject({ status: 0, stdout: 'queue3\n', stderr: '' });
    expect(pureJson(await bench.run(['quarantine', '--json']))).toEqual(['queue3']);
    expect((await bench.run(['status'])).stdout).toMatch(/^quarantine +queue3$/m);
    const wrong = await bench.run(['quarantine', '--release', 'queue0']);
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toContain('NOT_QUARANTINED');
    await admin.inject('queue3', 'never-idle', 0);
    const freed = await bench.run(['quarantine', '--release', 'queue3']);
    expect(freed).toMatchObject({ status: 0, stdout: '' });
    expect((await client.info()).quarantined).toEqual([]);
    admin.close();
  });

  test('reset begins a new epoch and takes every lease back', async () => {
    const { epoch } = (await client.info()).function;
    const { process } = await holder();
    const done = await bench.run(['reset', '--reason', 'firmware']);
    expect(done).toMatchObject({ status: 0, stdout: '' });
    expect(done.stderr).toContain(`epoch ${epoch + 1}`);
    const told = await process.finished;
    expect(told.status).toBe(6);
    expect(told.stderr).toContain('function reset');
    expect((await client.info()).function.epoch).toBe(epoch + 1);
  });
});

describe('usage', { timeout: patienceMs }, () => {
  test.each([
    [[]],
    [['toast']],
    [['leases', '--no-such-option']],
    [['show']],
    [['acquire', '--ttl', 'soon']],
    [['acquire', '--memory', 'much']],
    [['serve', '--log', 'loud']],
    [['serve', '--driver', 'no-such-driver']],
  ])('%j exits 2 with words on stderr', async (words) => {
    const done = await bench.run(words, {
      env: { LESSOR_RUN_DIR: join(bench.directory, 'usage') },
    });
    expect(done).toMatchObject({ status: 2, stdout: '' });
    expect(done.stderr).toMatch(/--help|Usage|DRIVER_NOT_FOUND/);
  });

  test('--help and --version go to stdout; help has examples and the exit statuses', async () => {
    const [help, version, acquire] = await Promise.all([
      bench.run(['--help']),
      bench.run(['--version']),
      bench.run(['acquire', '--help']),
    ]);
    expect(help).toMatchObject({ status: 0, stderr: '' });
    expect(help.stdout).toMatch(/Examples:[\s\S]+Exit status: 0 ok, 1 failure, 2 usage/);
    for (const command of ['serve', 'demo', 'status', 'functions', 'leases', 'show', 'acquire']) {
      expect(help.stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    }
    for (const command of ['release', 'revoke', 'quarantine', 'reset', 'events']) {
      expect(help.stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    }
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(acquire.stdout).toMatch(/Examples:\n +lessor acquire/);
    for (const line of help.stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
  });
});

describe('finding the broker', { timeout: patienceMs }, () => {
  const elsewhere = join(bench.directory, 'elsewhere');

  test('--socket before $LESSOR_SOCKET before the run directory', async () => {
    const env = { LESSOR_RUN_DIR: elsewhere };
    const bySocket = await bench.run(['--socket', socket, 'status', '--json'], {
      env: { ...env, LESSOR_SOCKET: '/nowhere' },
    });
    expect(pureJson(bySocket)).toMatchObject({ pid: broker.pid });
    const byEnvironment = await bench.run(['status', '--json'], {
      env: { ...env, LESSOR_SOCKET: socket },
    });
    expect(pureJson(byEnvironment)).toMatchObject({ pid: broker.pid });
  });

  test('no broker exits 3 and says what to do', async () => {
    const none = await bench.run(['leases'], { env: { LESSOR_RUN_DIR: elsewhere } });
    expect(none).toMatchObject({ status: 3, stdout: '' });
    expect(none.stderr).toContain('BROKER_NOT_FOUND');
    expect(none.stderr).toContain('lessor serve');
    const wrong = await bench.run(['--socket', join(elsewhere, 'x.sock'), 'leases']);
    expect(wrong.status).toBe(3);
    expect(wrong.stderr).toContain('x.sock');
  });

  test('several are listed and exit 2; one left by the dead does not answer', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'lessor-two-'));
    try {
      const servers = ['a.sock', 'b.sock'].map((name) => createServer().listen(join(folder, name)));
      const env = { LESSOR_RUN_DIR: folder };
      const several = await bench.run(['leases'], { env });
      expect(several).toMatchObject({ status: 2, stdout: '' });
      expect(several.stderr).toContain('BROKER_AMBIGUOUS');
      expect(several.stderr).toMatch(/a\.sock, .*b\.sock/);
      for (const server of servers) server.close();
      writeFileSync(join(folder, 'c.sock'), '');
      const stale = await bench.run(['leases'], { env });
      expect(stale.status).toBe(3);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

test(
  'a clone that is not built says what to run',
  async () => {
    const clone = mkdtempSync(join(tmpdir(), 'lessor-clone-'));
    try {
      cpSync(rootPath('bin'), join(clone, 'bin'), { recursive: true });
      cpSync(rootPath('package.json'), join(clone, 'package.json'));
      const program = [process.execPath, join(clone, 'bin', 'lessor.js')];
      const done = await bench.run(['leases'], { program });
      expect(done).toMatchObject({ status: 3, stdout: '' });
      expect(done.stderr).toContain('npm run setup');
    } finally {
      rmSync(clone, { recursive: true });
    }
  },
  patienceMs,
);
