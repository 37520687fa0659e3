// What is tried of leases whose holder has the device itself.
import { isLessorError } from '../../../src/client/index.js';
import { edu } from '../../../src/device/edu/registers.js';
import type { KernelFlavour } from '../../vm/kernel-recipe.js';
import { leftStatus } from './held.js';
import { expectSame, type Holder, Stage } from './stage.js';

interface ProcessCase {
  readonly name: string;
  /** Of `lessor serve`; default: what gives the device away. */
  readonly switches?: readonly string[];
  run(stage: Stage): Promise<void>;
}

const allowed = ['--allow-process', '--allow-cooperative'];
const asked = { memoryBytes: 4096, revocation: 'process', mapped: true } as const;

/** The device answers to what the holder mapped, and the lease says what it is. */
function expectHeld({ held }: Holder): void {
  const { lease: _, ...rest } = held;
  expectSame('what the holder has', rest, {
    isolation: 'cooperative',
    revocation: 'process',
    identification: edu.identification,
    inverted: ~0x1234_5678 >>> 0,
    afterMessage: ~0x0f0f_0f0f >>> 0,
  });
}

async function endOf({ process }: Holder): Promise<string> {
  const { status, signal, stderr } = await process.finished;
  return signal ?? `${status}${stderr}`;
}

async function refusalOf(acquiring: Promise<unknown>): Promise<string> {
  try {
    await acquiring;
    return 'granted';
  } catch (error) {
    if (!isLessorError(error)) throw error;
    return `${error.code}: ${error.hint}`;
  }
}

/** A lease like any other can follow. */
async function expectOrdinary(stage: Stage): Promise<void> {
  await using lease = await stage.client.acquire({ memoryBytes: 4096 });
  const { isolation, revocation } = lease.record;
  expectSame(
    'an ordinary lease',
    { isolation, revocation },
    {
      isolation: 'exclusive',
      revocation: 'mediated',
    },
  );
  expectSame('its register', await lease.window('registers').read32(0), edu.identification);
}

/** Where the kernel cannot take windows on registers back. */
const deviceCases: readonly ProcessCase[] = [
  {
    name: 'without switches the device is given to nobody',
    switches: [],
    async run(stage) {
      const refusal = await refusalOf(stage.client.acquire(asked));
      expectSame(
        'the answer',
        refusal,
        'DENIED: serve with --allow-process and --allow-cooperative',
      );
      await expectOrdinary(stage);
    },
  },
  {
    name: 'nobody gets the device who did not ask for it',
    async run(stage) {
      const refusal = await refusalOf(stage.client.acquire({ memoryBytes: 4096, mapped: true }));
      expectSame('the answer', refusal.split(':')[0], 'REVOCATION_UNAVAILABLE');
      await expectOrdinary(stage);
    },
  },
  {
    name: 'a holder that is revoked is killed, and the next one has the device',
    async run(stage) {
      for (const _ of [1, 2]) {
        // It may be as quick as the broker to end, if it does.
        const holder = await stage.holder('stays');
        expectHeld(holder);
        await stage.admin.revoke(holder.held.lease, { reason: 'test', graceMs: 0 });
        expectSame('its end', await endOf(holder), 'SIGKILL');
        await stage.expectFree();
      }
      await expectOrdinary(stage);
    },
  },
  {
    name: 'a holder that leaves when it is asked is not killed',
    async run(stage) {
      const holder = await stage.holder();
      await stage.admin.revoke(holder.held.lease, { reason: 'test', graceMs: 60_000 });
      expectSame('its end', await endOf(holder), `${leftStatus}`);
      await stage.expectFree();
    },
  },
  {
    name: 'a holder that gives the lease back and stays is killed',
    async run(stage) {
      const holder = await stage.holder('stays');
      holder.process.tell('give it back');
      expectSame('its end', await endOf(holder), 'SIGKILL');
      await stage.expectFree();
      await expectOrdinary(stage);
    },
  },
  {
    name: 'a holder that dies leaves a free device',
    async run(stage) {
      const holder = await stage.holder();
      await holder.process.stop('SIGKILL');
      await stage.expectFree();
      await expectOrdinary(stage);
    },
  },
];

/** Where it can: what is asked for is the least that will do. */
const windowCases: readonly ProcessCase[] = [
  {
    name: 'who would take the device itself gets windows that the kernel takes back',
    async run(stage) {
      await using lease = await stage.client.acquire(asked);
      const { isolation, revocation } = lease.record;
      expectSame('the lease', [isolation, revocation], ['exclusive', 'kernel']);
      const registers = lease.mappedWindow('registers');
      expectSame('its register', registers.u32[0], edu.identification);
      stage.expectAlone();
    },
  },
];

const casesOn = { stock: deviceCases, patched: windowCases } as const;

async function failureOf({ run, switches = allowed }: ProcessCase): Promise<string | undefined> {
  try {
    await using stage = await Stage.open(switches);
    await run(stage);
    return undefined;
  } catch (error) {
    return error instanceof Error ? `${error.stack}` : String(error);
  }
}

/** @param say - Hears a line for each case. @returns How many failed. */
export async function runCases(
  flavour: KernelFlavour,
  say: (line: string) => void,
): Promise<number> {
  let failed = 0;
  for (const each of casesOn[flavour]) {
    const failure = await failureOf(each);
    say(failure === undefined ? `ok ${each.name}` : `NOT OK ${each.name}: ${failure}`);
    if (failure !== undefined) failed += 1;
  }
  return failed;
}
