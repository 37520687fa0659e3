// Starts a process that attacks with a lease it was handed, as another user where that is possible.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Handover } from '../../src/client/client.js';
import { isRoot, otherUid } from './broker-fixture.js';

const script = fileURLToPath(new URL('./attacker-child.js', import.meta.url));

export interface Attack {
  readonly kind:
    | 'floodKicks'
    | 'floodFrames'
    | 'neverRead'
    | 'truncate'
    | 'foreignIova'
    | 'foreignPasid'
    | 'programPasid';
  readonly victimIova: number;
  readonly victimPasid: number;
  readonly durationMs: number;
}

export interface AttackReport {
  readonly seen: string;
  readonly uid: number;
}

export interface Attacker extends AsyncDisposable {
  readonly report: Promise<AttackReport>;
}

/** Takes the lease's descriptor along. */
export function startAttacker({ record, lease }: Handover, attack: Attack): Attacker {
  const child = fork(script, {
    env: { ...process.env, LESSOR_TEST_ATTACK: JSON.stringify({ ...attack, record }) },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', lease.number],
    ...(isRoot ? { uid: otherUid, gid: otherUid } : {}),
  });
  lease.close();
  const exited = once(child, 'exit');
  const report = Promise.race([
    once(child, 'message').then(([message]) => message as AttackReport),
    exited.then(([code]): AttackReport => ({ seen: `exit ${code}`, uid: -1 })),
  ]);
  return {
    report,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
