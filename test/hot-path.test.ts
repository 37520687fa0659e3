// The hot path has neither the broker nor the kernel in it: completions go on while the broker's
// main thread is blocked, and a client that polls makes no system call.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect } from '../src/client/index.js';
import { Queue } from '../src/client/mqdma/index.js';
import { systemClock } from '../src/os/clock.js';
import { Bench, patienceMs, type Running } from './support/lessor.js';

const blockMs = 500;
/** The client is at work before the block and after it. */
const marginMs = 750;
const spins = 20_000;
/** The engine may still compile or collect in some of them. */
const batches = 4;

const bench = new Bench();
const socket = join(bench.directory, 'blocking.sock');
const script = (name: string): string =>
  fileURLToPath(new URL(`./support/${name}.js`, import.meta.url));
let broker: Running;

beforeAll(async () => {
  broker = bench.start([socket], {
    program: [process.execPath, script('blocking-broker')],
    talks: true,
  });
  await broker.saying(/ready/);
}, patienceMs);

afterAll(() => bench.clear(), patienceMs);

async function hotClient(kind: 'poll' | 'sleep', tracer: readonly string[] = []): Promise<Running> {
  const program = [...tracer, process.execPath, script('hot-client')];
  const client = bench.start([socket, kind], { program, talks: true });
  await client.saying(/ready/);
  return client;
}

test('a doorbell to a device that sleeps is on its way at once', async () => {
  const client = await connect({ socket });
  const lease = await client.acquire({ memoryBytes: 65_536 });
  const queue = await Queue.create(lease, { entries: 16 });
  for (let round = 0; round < 5; round += 1) {
    // Longer than the device spins, and nobody else keeps it awake.
    await new Promise((resolve) => setTimeout(resolve, 20));
    const ticket = queue.submitNop();
    queue.ring();
    // Gives way to nothing from here on, not even to a microtask.
    const untilMs = systemClock.nowMs() + 2000;
    while (!queue.isDone(ticket) && systemClock.nowMs() < untilMs) queue.poll();
    expect(queue.isDone(ticket)).toBe(true);
  }
  await lease.close();
  client.close();
});

describe("with the broker's main thread blocked", { timeout: patienceMs }, () => {
  test.each([
    ['a client that polls', 'poll', 20],
    ['a client that sleeps on its interrupt', 'sleep', 20],
  ] as const)('%s goes on', async (_, kind, completionsMin) => {
    const client = await hotClient(kind);
    client.tell(`${kind} ${blockMs + 2 * marginMs}`);
    await client.saying(/begun/);
    await new Promise((resolve) => setTimeout(resolve, marginMs / 3));
    broker.stdout = '';
    broker.tell(`block ${blockMs}`);
    const [line] = await broker.saying(/\{"fromMs".*\n/);
    const { fromMs, toMs } = JSON.parse(line) as { fromMs: number; toMs: number };
    const [answer] = await client.saying(/\{"doneMs".*\n/);
    const { doneMs } = JSON.parse(answer) as { doneMs: number[] };
    const during = doneMs.filter((atMs) => atMs > fromMs && atMs < toMs).length;
    expect(toMs - fromMs).toBeGreaterThanOrEqual(blockMs);
    expect(during).toBeGreaterThan(completionsMin);
    client.child.stdin?.end();
    expect(await client.finished).toMatchObject({ status: 0, stderr: '' });
  });
});

const hasStrace = spawnSync('strace', ['-V']).status === 0;
if (!hasStrace) console.warn('hot path: strace is not installed; system calls are not counted');

/** What V8 calls in this thread for its own heap and compiler, whatever the program does. */
const ofTheEngine = new Set(['futex', 'madvise', 'mmap', 'munmap', 'mprotect', 'sched_yield']);

/** The calls that the thread with the marks made between each pair of them. */
function betweenMarks(): string[][] {
  const files = readdirSync(bench.directory).filter((name) => name.startsWith('trace.'));
  return files.flatMap((name) => {
    const text = readFileSync(join(bench.directory, name), 'utf8');
    const parts = text.split(/.*\/nowhere\/begin.*\n/).slice(1);
    return parts.map((part) => {
      const [calls = ''] = part.split(/^.*\/nowhere\/end/m);
      return calls.split('\n').filter((line) => line !== '');
    });
  });
}

describe.skipIf(!hasStrace)('under strace (skipped where it is not installed)', () => {
  test('a client that polls makes no system call', { timeout: 3 * patienceMs }, async () => {
    // A file per thread: those of V8 collect garbage whenever they like.
    const trace = ['strace', '-ff', '-o', join(bench.directory, 'trace')];
    const client = await hotClient('poll', trace);
    client.tell('warm up');
    await client.saying(/"warm"/);
    for (let batch = 1; batch <= batches; batch += 1) {
      client.tell(`spin ${spins}`);
      await client.saying(new RegExp(`(.*"spun":${spins}[^]*){${batch}}`));
    }
    client.child.stdin?.end();
    expect((await client.finished).status).toBe(0);
    const seen = betweenMarks();
    expect(seen).toHaveLength(batches);
    const names = seen.flat().map((line) => line.slice(0, line.indexOf('(')));
    expect(names.filter((name) => !ofTheEngine.has(name))).toEqual([]);
    expect(Math.min(...seen.map(({ length }) => length))).toBe(0);
  });
});
