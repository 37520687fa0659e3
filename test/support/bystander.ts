// A client that nothing concerns: it works while others misbehave, and must not notice.
import { expect } from 'vitest';
import type { BrokerFixture } from './broker-fixture.js';
import type { Taken } from './client-calls.js';
import { startClient, type TestActor } from './client-process.js';

/** Operations at a time for one uid, and one helper to spare. */
const warmUpClients = 6;

export interface Bystander {
  readonly actor: TestActor;
  readonly taken: Taken;
  /** It worked all the time, and every byte was right. */
  expectUndisturbed(): Promise<void>;
}

/** Brings up what a broker makes once, starts a client that works on, and counts what is held. */
export async function startBystander(broker: BrokerFixture): Promise<Bystander> {
  const client = await broker.connect();
  const leases = Array.from({ length: warmUpClients }, () =>
    client.acquire({ memoryBytes: 65_536 }),
  );
  await Promise.all((await Promise.all(leases)).map((lease) => lease.close()));
  client.close();
  const actor = startClient(broker.socketPath);
  const taken = await actor.acquire({});
  await actor.startWork();
  await broker.countBefore();
  return {
    actor,
    taken,
    async expectUndisturbed() {
      const { rounds, wrong } = await actor.stopWork();
      expect(wrong).toBe('ok');
      expect(rounds).toBeGreaterThan(10);
      await actor.startWork();
    },
  };
}
