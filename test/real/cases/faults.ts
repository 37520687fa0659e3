// DMA that must not happen: that it moved nothing, who saw it, and who was told.
import { hex } from '../../../src/base/units.js';
import type { EventRecord } from '../../../src/varlink/interface.js';
import type { RealCase } from '../case.js';
import { check, checkEqual, checkMatch } from '../check.js';
import type { Aim } from '../client/calls.js';
import { type FunctionStage, soon } from '../function-stage.js';

/** Leaves the last page of a lease's window unmapped. */
const lastPageBytes = 4096;

async function faultOf(stage: FunctionStage, lease: string, { iova, access }: Aim) {
  const isIt = ({ fault }: EventRecord): boolean => fault?.iova === iova && fault.access === access;
  return (await stage.event(lease, 'fault', isIt)).fault;
}

export const boundsCases: readonly RealCase<FunctionStage>[] = [
  {
    name: 'out of bounds: refused by the device, told to the lease, unknown to the IOMMU',
    async run(stage) {
      const attacker = await stage.tenant();
      const victim = await stage.tenant();
      await victim.paint(7);
      const before = await victim.hash();
      for (const access of ['read', 'write'] as const) {
        const aim = { iova: victim.taken.dataIova, access };
        checkMatch(await attacker.aim(aim), /out of bounds/, access);
        const fault = await faultOf(stage, attacker.taken.id, aim);
        checkEqual(fault?.reason, 'out of bounds', 'reason of the fault');
      }
      checkEqual(await victim.hash(), before, "the victim's memory");
      checkEqual(await victim.work(2), 'ok', "the victim's work");
      checkEqual(await attacker.work(2), 'ok', "the attacker's work");
      checkEqual(stage.kernelLog.takeFaults(), [], "the IOMMU's faults");
      checkEqual(stage.deviceLog.takeRefusals(), [], "the server's refusals");
    },
  },
  {
    name: 'unmapped in bounds: refused by the server, told to the lease',
    async run(stage) {
      const client = await stage.tenant();
      const { iovaBase, iovaBytes, id } = client.taken;
      for (const access of ['read', 'write'] as const) {
        const aim = { iova: iovaBase + iovaBytes - lastPageBytes, access };
        checkMatch(await client.aim(aim), /not mapped/, access);
        checkEqual((await faultOf(stage, id, aim))?.reason, 'not mapped', 'reason of the fault');
        const refusal = await soon('a refusal by the server', () =>
          stage.deviceLog.takeRefusals().find((line) => line.includes(`iova="${hex(aim.iova)}"`)),
        );
        checkMatch(refusal, new RegExp(`access="${access}"`), 'direction of the refusal');
      }
      checkEqual(await client.work(2), 'ok', 'the work');
      checkEqual(stage.kernelLog.takeFaults(), [], "the IOMMU's faults");
    },
  },
];

export const iommuCases: readonly RealCase<FunctionStage>[] = [
  {
    name: 'unmapped: refused by the IOMMU, in its log, told to the lease',
    async run(stage) {
      const client = await stage.tenant();
      const { iovaBase, iovaBytes, id } = client.taken;
      for (const access of ['read', 'write'] as const) {
        const aim = { iova: iovaBase + iovaBytes - lastPageBytes, access };
        await client.paint(5);
        const before = await client.hash();
        await client.aim(aim);
        const lines = await soon('a line of the IOMMU', () => {
          const faults = stage.kernelLog.takeFaults();
          return faults.length === 0 ? undefined : faults;
        });
        const address = aim.iova.toString(16);
        check(
          lines.some((line) => line.includes(address)),
          `no line about ${address}: ${lines.join('\n')}`,
        );
        await faultOf(stage, id, aim);
        checkEqual(await client.hash(), before, "the client's memory");
      }
      checkEqual(await client.work(2), 'ok', 'the work');
      stage.kernelLog.takeFaults();
    },
  },
];
