// A cell by real DMA: of an EDU device, behind whichever IOMMU.
import { AssertionFailure } from '../../../src/base/errors.js';
import type { IommuDevice, Iommufd } from '../../../src/iommu/iommufd.js';
import type { Access, Cell } from './cells.js';
import type { Edu } from './edu.js';
import { type Aim, enterState } from './enter-state.js';
import { deviceBytes, type MatrixMemory, pageBytes, transferBytes } from './matrix-memory.js';
import type { Outcome } from './outcome.js';
import { type Port, Stage, scratchIova } from './stage.js';

/** A refusal as the IOMMU reports it. */
export interface Refusal {
  readonly access: Access;
  /** Of the page or inside of it. */
  readonly iova: number;
  readonly pasid: number | undefined;
  readonly reason: string;
}

/** An EDU device and its IOMMU. */
export interface Rig {
  readonly iommufd: Iommufd;
  readonly device: IommuDevice;
  readonly memory: MatrixMemory;
  readonly edu: Edu;
  /** Sends a PASID with its DMA from now on. Absent: it cannot. */
  present?(pasid: number | undefined): Promise<void>;
  /** What was refused since the last call; with `isDue`, waits for it. */
  refusals(isDue: boolean): Promise<readonly Refusal[]>;
}

/** In the buffer of the device: what a touch brings goes behind what an access moves. */
const touchOffset = 2048;

export class DmaColumn {
  readonly #rig: Rig;
  readonly #stage: Stage;

  constructor(rig: Rig) {
    this.#rig = rig;
    const { device } = rig;
    const port: Port = {
      devId: device.id,
      pasidBits: device.pasidBits,
      attach: ({ hwptId }, pasid) => void device.attach(hwptId!, pasid),
      detach: (pasid) => device.detach(pasid),
      touch: async (iova, pasid) => {
        await this.#transfer('read', { iova, pasid }, touchOffset);
        const refusals = await rig.refusals(false);
        if (refusals.length > 0) throw new AssertionFailure(`a touch: ${refusals[0]!.reason}`);
      },
    };
    this.#stage = new Stage(rig.iommufd, rig.memory, port);
  }

  async measure({ access, state }: Pick<Cell, 'access' | 'state'>): Promise<Outcome> {
    const { memory } = this.#rig;
    memory.fill();
    await this.#load();
    memory.fill();
    const aim = await enterState(this.#stage, state);
    await this.#rig.refusals(false);
    await this.#transfer(access, aim, 0);
    await this.#stage.goHome();
    const device = access === 'read' ? await this.#unload() : deviceBytes();
    const moved = memory.movedBy(access, device, aim.offsetBytes);
    const isDue = moved !== 'all' && moved !== 'other memory';
    const refusals = await this.#rig.refusals(isDue);
    return { moved, because: reasonOf(refusals, access, aim) };
  }

  /** Gives the device the bytes that a write moves. */
  async #load(): Promise<void> {
    this.#rig.memory.page('scratch').set(deviceBytes());
    await this.#transfer('read', { iova: scratchIova, pasid: undefined }, 0);
  }

  /** What the device holds after a read. */
  async #unload(): Promise<Uint8Array> {
    await this.#transfer('write', { iova: scratchIova, pasid: undefined }, 0);
    return this.#rig.memory.page('scratch').slice(0, transferBytes);
  }

  async #transfer(
    access: Access,
    { iova, pasid }: Pick<Aim, 'iova' | 'pasid'>,
    bufferOffset: number,
  ): Promise<void> {
    const { edu } = this.#rig;
    const direction = access === 'write' ? 'to memory' : 'from memory';
    await this.#rig.present?.(pasid);
    await edu.transfer({ direction, iova, bufferOffset, lengthBytes: transferBytes });
    await this.#rig.present?.(undefined);
  }
}

/** The reasons, and what else is not as it should be. */
function reasonOf(refusals: readonly Refusal[], access: Access, aim: Aim): string | undefined {
  if (refusals.length === 0) return undefined;
  const texts = refusals.map((refusal) => {
    const page = refusal.iova - (refusal.iova % pageBytes);
    let text = refusal.reason;
    if (refusal.access !== access) text += ` of a ${refusal.access}`;
    if (page !== aim.refusedPage) text += ` at 0x${page.toString(16)}`;
    if (refusal.pasid !== aim.pasid) text += ` by PASID ${refusal.pasid ?? 'none'}`;
    return text;
  });
  return [...new Set(texts)].join(', ');
}
