// A broker for all the tests of a file, with a bystander whom none of them may disturb.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Client } from '../../src/client/client.js';
import type { ListeningLease } from '../../src/client/listening-lease.js';
import { BrokerFixture, type BrokerOptions, nothingLeft } from './broker-fixture.js';
import { type Bystander, startBystander } from './bystander.js';
import { ramBytes } from './raw-listen.js';

export interface StandingBroker {
  readonly broker: BrokerFixture;
  readonly bystander: Bystander;
  readonly client: Client;
}

export async function startStanding(options: BrokerOptions = {}): Promise<StandingBroker> {
  const broker = await BrokerFixture.start(options);
  const bystander = await startBystander(broker);
  return { broker, bystander, client: await broker.connect() };
}

/** Fails when the bystander was disturbed or anything is left. */
export async function finishStanding(standing: StandingBroker): Promise<void> {
  const { broker, bystander, client } = standing;
  await bystander.expectUndisturbed();
  client.close();
  expect(await broker.leftOver()).toEqual(nothingLeft);
  await bystander.actor[Symbol.asyncDispose]();
  expect(await broker.stop()).toBe(0);
  await broker[Symbol.asyncDispose]();
}

/** Sockets for VM monitors, in a folder that goes with it. */
export class ListenFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'lessor-listen-'));
  #count = 0;

  freePath(): string {
    return join(this.path, `vm${this.#count++}.sock`);
  }

  /** Acquires a lease that waits for a VM monitor. */
  acquire(client: Client, request: object = {}): Promise<ListeningLease> {
    const listen = { path: this.freePath() };
    return client.acquire({ memoryBytes: ramBytes, listen, ...request });
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}
