// Clients that do what the function is for.
import type { RealCase } from '../case.js';
import { check, checkEqual } from '../check.js';
import type { FunctionStage } from '../function-stage.js';

const rounds = 20;
const crowd = 3;
/** EDU's own addresses of memory have 28 bits. */
const eduMemoryEnd = 2 ** 28;

export const workCases: readonly RealCase<FunctionStage>[] = [
  {
    name: 'clients work at once, and every byte is right',
    async run(stage) {
      const count = Math.min(crowd, stage.underside.tenants);
      const clients = [];
      for (let index = 0; index < count; index += 1) clients.push(await stage.tenant());
      const said = await Promise.all(clients.map((client) => client.work(rounds)));
      checkEqual(said, Array(count).fill('ok'), 'the work');
    },
  },
  {
    name: 'a lease by message works too',
    async run(stage) {
      const client = await stage.tenant({ revocation: 'mediated' });
      checkEqual(await client.work(3), 'ok', 'the work');
    },
  },
];

export const exclusiveCases: readonly RealCase<FunctionStage>[] = [
  {
    name: 'a second client is refused, and is told when it waits for the first',
    async run(stage) {
      const first = await stage.tenant();
      const second = await stage.client();
      checkEqual(await second.refused({}), 'NO_FREE_SLICE', 'the refusal');
      const waiting = second.acquire({ waitMs: 60_000 });
      await first.close();
      check((await waiting).id !== first.taken.id, 'the lease is the second one');
      checkEqual(await second.work(2), 'ok', 'the work');
    },
  },
  {
    name: 'memory is where 28 address bits reach',
    async run(stage) {
      const { taken } = await stage.tenant();
      const end = taken.iovaBase + taken.iovaBytes;
      check(end <= eduMemoryEnd, `the IOVA window ends at 0x${end.toString(16)}`);
    },
  },
];
