// An EDU device that can send a PASID with its DMA, as no EDU device of QEMU does: a register more
// says which. Made in a worker by its module's name.
import { EduDevice } from '../../../src/device/edu/device.js';
import type {
  Bus,
  DeviceConfig,
  DeviceRegion,
  PciDevice,
  StepResult,
  Value,
  Width,
} from '../../../src/device/types.js';

/** Four bytes; 0: none. Where EDU has nothing. */
export const pasidRegister = 0x1000;
export const taggedPasidBits = 8;

class TaggedEdu implements PciDevice {
  readonly config: DeviceConfig;
  readonly regions: readonly DeviceRegion[];
  readonly #edu = new EduDevice({ dmaDelayMs: 0 });
  #pasid: number | undefined;

  constructor() {
    this.config = { ...this.#edu.config, pasidBits: taggedPasidBits };
    this.regions = this.#edu.regions;
  }

  attach(bus: Bus): void {
    this.#edu.attach({
      direct: undefined,
      frame: (region, offsetBytes) => bus.frame(region, offsetBytes),
      read: (_pasid, iova, into) => bus.read(this.#pasid, iova, into),
      write: (_pasid, iova, from) => bus.write(this.#pasid, iova, from),
      interrupt: (vector) => bus.interrupt(vector),
      wakeAfter: (delayMs) => bus.wakeAfter(delayMs),
      nowMs: () => bus.nowMs(),
    });
  }

  read(region: number, offsetBytes: number, width: Width): Value {
    return this.#edu.read(region, offsetBytes, width);
  }

  write(region: number, offsetBytes: number, width: Width, value: Value): void {
    if (offsetBytes === pasidRegister) this.#pasid = Number(value) || undefined;
    else this.#edu.write(region, offsetBytes, width, value);
  }

  step(): StepResult {
    return this.#edu.step();
  }

  reset(): void {
    this.#pasid = undefined;
    this.#edu.reset();
  }
}

export function createTaggedEdu(): PciDevice {
  return new TaggedEdu();
}
