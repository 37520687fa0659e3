// How leases end on a real function, and what is left for whoever comes next.
import { setTimeout as sleep } from 'node:timers/promises';
import type { RealCase } from '../case.js';
import { check, checkEqual, checkMatch } from '../check.js';
import type { Sight } from '../client/calls.js';
import type { FunctionStage } from '../function-stage.js';

const allOnes = 0xffff_ffff;
/** Enough for a client that is slow to start; shortened once it has all that it wants. */
const ttlMs = 120_000;
const shortTtlMs = 500;
/** Longer than an operation takes that was under way. */
const lateMs = 300;

/** What a client sees of registers that it has no more. */
export function checkCut(stage: FunctionStage, sight: Sight): void {
  const isMapped = stage.revocation === 'kernel';
  if (isMapped) checkEqual(sight.register, allOnes, 'the register');
  else checkMatch(String(sight.register), /WINDOW_REVOKED|LEASE_|ENODEV/, 'the register');
}

export const endCases: readonly RealCase<FunctionStage>[] = [
  {
    name: 'a client is killed with DMA under way: the next one has the slice, undisturbed',
    async run(stage) {
      const victim = await stage.tenant();
      const { id, slice } = victim.taken;
      await victim.submit();
      victim.kill('SIGKILL');
      const ended = await stage.event(id, 'ended');
      checkMatch(ended.reason ?? '', /holder/, 'the reason');
      const next = await stage.tenant({ slice });
      await next.paint(3);
      const before = await next.hash();
      await sleep(lateMs);
      checkEqual(await next.hash(), before, "the next one's memory");
      checkEqual(await next.work(3), 'ok', "the next one's work");
    },
  },
  {
    name: 'an operator revokes a lease in use: registers are gone, and the client is told',
    async run(stage) {
      const client = await stage.tenant();
      await client.startWork();
      await sleep(50);
      await stage.admin.revoke(client.taken.id, { reason: 'for a test' });
      const sight = await client.ended();
      check(sight.closed, 'the lease is not closed');
      checkMatch(sight.reason, /operator: for a test/, 'the reason');
      checkCut(stage, sight);
      check((await client.stopWork()) !== 'ok', 'work went on without a lease');
      checkEqual(await (await stage.tenant()).work(2), 'ok', "the next one's work");
    },
  },
  {
    name: 'the time of a lease is over',
    async run(stage) {
      const client = await stage.tenant({ ttlMs });
      await stage.control.renew(client.taken.id, shortTtlMs);
      const sight = await client.ended();
      checkMatch(sight.reason, /time|expired/, 'the reason');
      checkCut(stage, sight);
    },
  },
];
