// A reconnecting client, a server that dies on demand and a clock in the test's hand, new for each
// test of a file. The names are live: they show what stands for the test that runs.
import { afterEach, beforeEach, expect } from 'vitest';
import type { Fd } from '../../os/fd.js';
import type { DmaMapRequest } from '../endpoint.js';
import {
  connectReconnecting,
  type ReconnectEvent,
  type ReconnectingClient,
  type ReconnectOptions,
} from '../reconnect.js';
import { ManualClock } from './manual-clock.js';
import { MortalServer } from './mortal-server.js';
import { memoryWorld, turns, until, type World } from './world.js';

export let world: World;
export let clock: ManualClock;
export let server: MortalServer;
export let client: ReconnectingClient | undefined;
export let events: ReconnectEvent[];

/** Sets everything up before each test of the file, and fails where one leaves anything. */
export function useReconnectLab(): void {
  beforeEach(() => {
    world = memoryWorld();
    clock = new ManualClock();
    server = new MortalServer(world, clock);
    events = [];
  });

  afterEach(async () => {
    client?.close();
    client = undefined;
    server.close();
    await until(() => world.left().length === 0, `nothing is left open: ${world.left().join()}`);
    expect(clock.timerCount).toBe(0);
  });
}

/** Connects the client of this test. */
export async function connect(
  options: Partial<ReconnectOptions> = {},
): Promise<ReconnectingClient> {
  client = await connectReconnecting({ clock, dial: server.dial, ...options });
  client.onEvent((event) => events.push(event));
  return client;
}

/** The events so far. */
export function types(): string[] {
  return events.map(({ type }) => type);
}

/** More turns of the event loop than a server needs to answer all that an attempt asks. */
export const attemptTurns = 150;

/** Lets time pass in small steps, and everything in them happen. */
export async function pass(ms: number, stepMs = 25): Promise<void> {
  for (let passed = 0; passed < ms; passed += stepMs) {
    const { dials } = server;
    clock.advance(stepMs);
    await turns(server.dials > dials ? attemptTurns : 4);
  }
}

/** A page at `iova`; without a descriptor it is reached by message. */
export function map(iova: bigint, fd: Fd | undefined): DmaMapRequest {
  const shape = { iova, lengthBytes: 4096n, offsetBytes: 0n, readable: true, writable: true };
  return { ...shape, ...(fd === undefined ? {} : { fd }) };
}
