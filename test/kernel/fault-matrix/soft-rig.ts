// An EDU device of ours in its worker, behind a soft IOMMU whose iommufd is in our hands.
import { MiB } from '../../../src/base/units.js';
import { createControlBlock, word } from '../../../src/function/emulated/control-block.js';
import { DeviceThread } from '../../../src/function/emulated/device-thread.js';
import { takeFault } from '../../../src/function/emulated/fault-ring.js';
import { Mailbox } from '../../../src/function/emulated/mailbox.js';
import { WorkerLink } from '../../../src/function/emulated/worker-link.js';
import { createSoftIommu } from '../../../src/iommu/soft/soft-iommu.js';
import { systemClock } from '../../../src/os/clock.js';
import type { MemoryOs } from '../../../src/os/memory-types.js';
import type { Refusal, Rig } from './dma-column.js';
import { Edu } from './edu.js';
import { MatrixMemory } from './matrix-memory.js';
import { pasidRegister, taggedPasidBits } from './tagged-edu.js';

const arenaBytes = 64 * MiB;
const windowBytes = 2 * MiB;
const requestDeadlineMs = 15_000;
const stopDeadlineMs = 5000;
const registerRegion = 0;

export async function openSoftRig(memoryOs: MemoryOs): Promise<Rig & AsyncDisposable> {
  const clock = systemClock;
  const module = new URL('./tagged-edu.js', import.meta.url).href;
  const source = { module, exportName: 'createTaggedEdu', options: undefined };
  const thread = await DeviceThread.spawn(source, 'fault matrix', clock);
  const arena = memoryOs.createArena(arenaBytes);
  const shape = { frameCount: 0, vectorCount: 1 };
  const control = createControlBlock(shape);
  const soft = createSoftIommu({
    arena,
    layout: { windowBytes },
    memory: memoryOs,
    clock,
    pasidBits: taggedPasidBits,
    tableBytes: 16 * MiB,
  });
  const link = new WorkerLink(control, clock, () => soft.invalidation.wake());
  const mailbox = new Mailbox(control, link, {
    clock,
    deadlineMs: requestDeadlineMs,
    onSilence: () => undefined,
  });
  await thread.start({
    shared: control.shared,
    shape,
    places: [],
    pageBytes: memoryOs.pageBytes,
    iommu: soft.handles,
    arenaId: arena.id,
    idleSpinMs: 0.2,
  });
  const access = { region: registerRegion, width: 4 } as const;
  const read32 = async (offsetBytes: number): Promise<number> =>
    Number(await mailbox.call({ operation: 'read', ...access, offsetBytes, value: 0 }));
  const write32 = async (offsetBytes: number, value: number): Promise<void> => {
    await mailbox.call({ operation: 'write', ...access, offsetBytes, value });
  };
  const memory = new MatrixMemory(memoryOs);
  return {
    iommufd: soft.iommufd,
    device: soft.device,
    memory,
    edu: new Edu({ read32, write32 }, clock),
    present: (pasid) => write32(pasidRegister, pasid ?? 0),
    // The worker reports before it answers that a transfer is over.
    refusals: async () => {
      const refusals: Refusal[] = [];
      for (let fault = takeFault(control); fault; fault = takeFault(control)) {
        refusals.push(fault);
      }
      return refusals;
    },
    async [Symbol.asyncDispose]() {
      Atomics.store(control.words, word.stop, 1);
      link.kick();
      await thread.join(stopDeadlineMs);
      link.workerEnded();
      soft.invalidation.workerGone();
      soft.iommufd[Symbol.dispose]();
      await soft.iommufd.settled();
      link.close();
      memory[Symbol.dispose]();
    },
  };
}
