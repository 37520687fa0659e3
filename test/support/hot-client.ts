// A client on the hot path. Says one JSON line per fact and does what it is told over its standard
// input: "warm up", "spin N" (nops between two marks, for a tracer), "poll MS", "sleep MS".
// A second queue of its own has work for seconds, so that the device has no reason to sleep.
import { accessSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { connect } from '../../src/client/index.js';
import { Queue } from '../../src/client/mqdma/index.js';

const warmUpNops = 20_000;
/** So that each turn of a busy machine's scheduler gets something done. */
const nopsPerDoorbell = 16;
const busyEntries = 4096;
const busyBytes = 2 * 1024 * 1024;
/** Far fewer than the busy queue has work for. */
const nopsPerRefill = 64;

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

/** Gives the busy queue as much as it can take; no system call, as long as it never ran dry. */
function keepBusy(): void {
  busy.poll();
  while (busy.outstanding < busyEntries) {
    busy.submitCopy(memory.iova, memory.iova + busyBytes, busyBytes);
  }
  busy.ring();
}

/** Nops by polling alone, some to a doorbell. */
function spin(count: number, nopsPerDoorbell: number): void {
  for (let done = 0; done < count; done += nopsPerDoorbell) {
    if (done % nopsPerRefill === 0) keepBusy();
    let ticket = 0;
    for (let index = 0; index < nopsPerDoorbell; index += 1) ticket = queue.submitNop();
    queue.ring();
    while (!queue.isDone(ticket)) queue.poll();
  }
}

/** Nops until a time, each seen by polling alone. @returns When each was done. */
function poll(untilMs: number): number[] {
  const doneMs: number[] = [];
  while ((doneMs.at(-1) ?? 0) < untilMs) {
    spin(1, 1);
    doneMs.push(nowMs());
  }
  return doneMs;
}

/** Nops until a time, each awaited: with no spinning, every one sleeps on the interrupt. */
async function sleep(untilMs: number): Promise<number[]> {
  const doneMs: number[] = [];
  while ((doneMs.at(-1) ?? 0) < untilMs) {
    keepBusy();
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
  if (verb === 'warm') {
    spin(warmUpNops, nopsPerDoorbell);
    say({ warm: true });
  } else if (verb === 'spin') {
    mark('begin');
    spin(count, nopsPerDoorbell);
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
