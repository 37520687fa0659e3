// A client on the hot path. Says one JSON line per fact and does what it is told over its standard
// input: "spin N" (nops between two marks, for a tracer), "poll MS", "sleep MS" (nops counted).
// A second queue of its own has work for seconds, so that the device has no reason to sleep.
import { accessSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { connect } from '../../src/client/index.js';
import { Queue } from '../../src/client/mqdma/index.js';

const warmUpNops = 30_000;
const busyEntries = 4096;
const busyBytes = 2 * 1024 * 1024;
/** Nops between two looks at the clock. */
const nopsPerSample = 64;

function say(fact: object): void {
  process.stdout.write(`${JSON.stringify(fact)}\n`);
}

/** Monotonic, and the same in every process. */
function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** A system call that a tracer sees, by a name that no other has. */
function mark(name: string): void {
  try {
    accessSync(`/nowhere/${name}`);
  } catch {
    // It is nowhere.
  }
}

const [socket = '', kind = 'poll'] = process.argv.slice(2);
const client = await connect({ socket });
const lease = await client.acquire({ memoryBytes: 1024 * 1024 });
const queue = await Queue.create(lease, { entries: 64, spinMicros: kind === 'sleep' ? 0 : 50 });
const busyLease = await client.acquire({ memoryBytes: 64 * 1024 * 1024 });
const busy = await Queue.create(busyLease, { entries: busyEntries });
const memory = await busyLease.memory.allocate(2 * busyBytes);

/** Gives the busy queue as much as it can take. */
function keepBusy(): void {
  busy.poll();
  while (busy.outstanding < busyEntries) {
    busy.submitCopy(memory.iova, memory.iova + busyBytes, busyBytes);
  }
  busy.ring();
}

function spin(rounds: number): void {
  for (let round = 0; round < rounds; round += 1) {
    const ticket = queue.submitNop();
    queue.ring();
    while (!queue.isDone(ticket)) queue.poll();
  }
}

/** Nops until a time, each seen by polling alone. @returns When each sample of them was done. */
function poll(untilMs: number): number[] {
  const doneMs: number[] = [];
  while ((doneMs.at(-1) ?? 0) < untilMs) {
    spin(nopsPerSample);
    doneMs.push(nowMs());
  }
  return doneMs;
}

/** Nops until a time, each awaited: with no spinning, every one sleeps on the interrupt. */
async function sleep(untilMs: number): Promise<number[]> {
  const doneMs: number[] = [];
  while ((doneMs.at(-1) ?? 0) < untilMs) {
    await queue.nop();
    doneMs.push(nowMs());
  }
  return doneMs;
}

say({ ready: process.pid });
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, argument] = line.split(' ');
  const count = Number(argument);
  keepBusy();
  if (verb === 'spin') {
    spin(warmUpNops);
    mark('begin');
    spin(count);
    mark('end');
    say({ spun: count });
  } else {
    const untilMs = nowMs() + count;
    say({ begun: verb });
    say({ doneMs: verb === 'poll' ? poll(untilMs) : await sleep(untilMs) });
  }
}
await Promise.all([lease.close(), busyLease.close()]);
client.close();
