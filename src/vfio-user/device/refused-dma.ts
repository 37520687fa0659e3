// Tells of DMA that the translations of a served device refused, so that whoever runs the server
// sees what its device tried. A device may try without end: so many lines a second, then a count.
import type { Clock } from '../../base/clock.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/log.js';
import { hex } from '../../base/units.js';
import type { FaultReason } from '../../iommu/types.js';

const secondMs = 1000;

export class RefusedDma {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #device: string;
  #sinceMs = Number.NEGATIVE_INFINITY;
  #told = 0;
  #untold = 0;

  constructor(log: Logger, clock: Clock, device: string) {
    this.#log = log;
    this.#clock = clock;
    this.#device = device;
  }

  tell(iova: number, access: 'read' | 'write', reason: FaultReason): void {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#sinceMs >= secondMs) {
      this.#sinceMs = nowMs;
      this.#told = 0;
    }
    if (this.#told >= limits.refusedDmaLinesPerSecondMax) {
      this.#untold += 1;
      return;
    }
    this.#told += 1;
    const untold = this.#untold === 0 ? undefined : this.#untold;
    this.#untold = 0;
    this.#log.info('DMA refused', {
      device: this.#device,
      iova: hex(iova),
      access,
      reason,
      untold,
    });
  }
}
