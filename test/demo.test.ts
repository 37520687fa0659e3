// The demo as a user runs it: what it reports, that it fails when it should, and that it can stay.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { connect } from '../src/client/index.js';
import { reclaimPhases } from '../src/lease/types.js';
import { Bench } from './support/lessor.js';

/** Under 20 s on a quiet machine; a busy one may take its time. */
const demoMs = 180_000;
const columnsMax = 100;

const bench = new Bench();
afterAll(() => bench.clear());

const microseconds = expect.any(Number);
const percentiles = { p50: microseconds, p99: microseconds };
const fault = {
  lease: expect.stringMatching(/^[0-9a-f]{32}$/),
  iova: expect.stringMatching(/^0x[0-9a-f]+$/),
  access: expect.stringMatching(/^(read|write)$/),
  reason: expect.any(String),
};
const noLeaks = { fds: 0, mappings: 0, iovaBytes: 0, pasids: 0, processes: 0 };
const phaseTimes = Object.fromEntries(reclaimPhases.map((phase) => [phase, microseconds]));

const lessor = fileURLToPath(new URL('../../bin/lessor.js', import.meta.url));
const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
const runsAsNobody = [...nobody, process.execPath, lessor];

/** Whether this user can become nobody, and nobody can read this clone. */
function canBeNobody(): boolean {
  const [command = '', ...words] = runsAsNobody;
  return spawnSync(command, [...words, '--version']).status === 0;
}

const isAble = canBeNobody();
if (!isAble) console.warn('demo: not tried as nobody; that needs root and a clone all can read');

const bare = { HOME: '', XDG_RUNTIME_DIR: undefined, LESSOR_RUN_DIR: undefined };
/** How nobody runs it, with no home. */
const asNobody = { program: runsAsNobody, env: bare };

/** An mqdma of another process, and what to call it. */
async function served(name: string, words: readonly string[] = []) {
  const path = join(bench.directory, name);
  const device = ['device', 'serve', 'mqdma', '--listen', path, '--json', '--log', 'info'];
  const server = bench.start([...device, ...words]);
  await server.saying(/\n/);
  return { server, source: `vfio-user:${path}` };
}

describe('lessor demo', { timeout: demoMs }, () => {
  // By nobody where that can be tried: the others are run by whoever runs the tests.
  test('--json reports everything, with the story on stderr', async () => {
    const options = isAble ? asNobody : {};
    const { status, stdout, stderr } = await bench.run(['demo', '--json'], options);
    const report = JSON.parse(stdout);
    expect(report).toEqual({
      ok: true,
      function: 'emulated',
      labels: ['pasid/kernel', 'device-bounds/kernel', 'cooperative/kernel'],
      clients: expect.any(Number),
      operations: expect.any(Number),
      bytesVerified: expect.any(Number),
      modes: ['pasid', 'device-bounds'],
      roundTripMicros: percentiles,
      messageRoundTripMicros: percentiles,
      reclaimMicros: { ...phaseTimes, total: microseconds },
      revokeSeenMicros: microseconds,
      faults: Array.from({ length: 6 }, () => fault),
      victimIntact: true,
      nextTenantIntact: true,
      positiveControl: true,
      impossible: [],
      leaks: noLeaks,
      failures: [],
    });
    expect(status).toBe(0);
    expect(report.clients).toBeGreaterThanOrEqual(4);
    expect(report.operations).toBeGreaterThan(1000);
    expect(report.bytesVerified).toBeGreaterThan(2 ** 20);
    expect(report.roundTripMicros.p50).toBeGreaterThan(0);
    expect(report.messageRoundTripMicros.p50).toBeGreaterThan(report.roundTripMicros.p50);
    const sum = reclaimPhases.reduce((total, phase) => total + report.reclaimMicros[phase], 0);
    expect(report.reclaimMicros.total).toBe(sum);
    const lines = stderr.trimEnd().split('\n');
    expect(lines.filter((line) => line.length > columnsMax)).toEqual([]);
    expect(lines.at(-1)).toBe('everything held');
    for (const words of ['not mapped', 'out of bounds', 'SUCCEEDS', 'operator: demo', 'intact']) {
      expect(stderr).toContain(words);
    }
  });

  test.each([
    ['by message alone', [], 'mediated', ['isolation pasid', 'registers mapped into the client']],
    ['mapped', ['--detachable-windows'], 'kernel', ['isolation pasid']],
  ] as const)(
    'on a served function, %s, says what cannot be shown',
    async (_, words, revocation, steps) => {
      const faults = ['--fault-injection', ...words];
      const { server, source } = await served(`wire-${revocation}`, faults);
      const { status, stdout } = await bench.run(['demo', '--function', source, '--json']);
      const report = JSON.parse(stdout);
      expect(report.failures).toEqual([]);
      expect(report).toMatchObject({
        ok: true,
        function: source,
        labels: [`server/${revocation}`, `cooperative/${revocation}`],
        modes: ['device-bounds'],
        reclaimMicros: { ...phaseTimes, total: microseconds },
        victimIntact: true,
        nextTenantIntact: true,
        positiveControl: true,
        leaks: noLeaks,
      });
      expect(report.impossible.map(({ step }: { step: string }) => step)).toEqual(steps);
      expect(report.faults).toHaveLength(3);
      expect(report.messageRoundTripMicros.p50).toBeGreaterThan(0);
      expect(report.roundTripMicros.p50 > 0).toBe(revocation === 'kernel');
      expect(status).toBe(0);
      // The one that nothing was mapped for; the bounds stopped the others.
      expect(server.stderr.match(/DMA refused/g)).toHaveLength(1);
    },
  );

  test('a device that delays nothing when told to is no failure', async () => {
    const { source } = await served('wire-on-time');
    const { stdout } = await bench.run(['demo', '--function', source, '--json']);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ ok: true, failures: [], nextTenantIntact: true });
    expect(report.impossible).toContainEqual({
      step: 'DMA of a dead client that comes late',
      reason: 'the device delays none when told to',
    });
  });

  test('a descriptor lost on purpose fails it', async () => {
    const { source } = await served('wire-leak', ['--fault-injection']);
    const words = ['demo', '--function', source, '--json', '--leak-descriptor'];
    const { status, stdout } = await bench.run(words);
    const report = JSON.parse(stdout);
    expect(status).toBe(1);
    expect(report.ok).toBe(false);
    expect(report.leaks.fds).toBeGreaterThan(0);
    expect(report.failures).not.toEqual([]);
  });

  test('--hold leaves a broker to look at, until a signal', async () => {
    const demo = bench.start(['demo', '--hold']);
    let said: RegExpExecArray | undefined;
    while (said === undefined) {
      said = await demo.saying(/holding: lessor --socket (\S+) leases/, 'stderr').catch((error) => {
        if (demo.child.exitCode !== null) throw error;
        return undefined;
      });
    }
    const socket = said[1] ?? '';
    const listed = await bench.run(['--socket', socket, 'leases', '--json']);
    expect(JSON.parse(listed.stdout)).toHaveLength(3);
    expect(await demo.stop('SIGTERM')).toMatchObject({ status: 0 });
    await expect(connect({ socket })).rejects.toMatchObject({ code: 'BROKER_NOT_FOUND' });
  });

  test('a signal in the middle takes the broker along', async () => {
    const demo = bench.start(['demo']);
    const [, pid = ''] = await demo.saying(/^broker (\d+) owns/m, 'stderr');
    expect((await demo.stop('SIGTERM')).status).toBe(1);
    // Gone, or about to be: it was killed.
    const untilMs = performance.now() + 10_000;
    const lives = (): boolean => {
      try {
        return process.kill(Number(pid), 0);
      } catch {
        return false;
      }
    };
    while (lives() && performance.now() < untilMs) await new Promise(setImmediate);
    expect(lives()).toBe(false);
  });
});

describe.skipIf(!isAble)('as nobody, with no home (skipped where it needs root)', () => {
  test(
    'serve makes its sockets in a folder of its own, where commands find them',
    async () => {
      const folder = '/tmp/lessor-65534';
      const broker = bench.start(['serve', '--json', '--name', 'test-nobody'], asNobody);
      const [line] = await broker.saying(/.*\n/);
      expect(JSON.parse(line)).toEqual({ socket: `${folder}/test-nobody.sock`, pid: broker.pid });
      const env = { ...bare, LESSOR_SOCKET: `${folder}/test-nobody.sock` };
      const options = { ...asNobody, env };
      const held = bench.start(['acquire', '--', 'sleep', '1000'], options);
      let leases = '[]';
      while (JSON.parse(leases).length === 0) {
        leases = (await bench.run(['leases', '--json'], options)).stdout;
      }
      expect(JSON.parse(leases)).toMatchObject([{ uid: 65_534, pid: held.pid }]);
      await held.stop('SIGKILL');
      expect(await broker.stop()).toMatchObject({ status: 0, stderr: '' });
      rmSync(`${folder}/test-nobody.sock.epoch`, { force: true });
    },
    demoMs,
  );
});
