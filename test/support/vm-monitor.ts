// A VM monitor as QEMU's vfio-user client is one: it takes whatever device it finds on a socket,
// sizes its BARs, maps what can be mapped, gives it the memory of a guest, and lets the guest turn
// it on and off.
import { assert } from '../../src/base/errors.js';
import { systemClock } from '../../src/os/clock.js';
import type { Fd } from '../../src/os/fd.js';
import { createOs } from '../../src/os/index.js';
import {
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  type Mapping,
} from '../../src/os/memory-types.js';
import { connectVfioUser, type VfioUserClient } from '../../src/vfio-user/client.js';
import type { VfioUserRegionInfo } from '../../src/vfio-user/region-info.js';

export const monitorOs = createOs();

export const configRegion = 7;
export const msixIndex = 2;
const barCount = 6;
const barsAt = 0x10;
const romAt = 0x30;
const commandAt = 0x04;
export const MiB = 1024 * 1024;

/** Memory of a guest, sealed as QEMU's memory-backend-memfd seals it by default. */
export function guestMemory(lengthBytes: number, sealed = true): Fd {
  const fd = monitorOs.memory.create('test-guest', lengthBytes);
  if (sealed) monitorOs.memory.addSeals(fd, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  return fd;
}

export interface MappedBar {
  readonly index: number;
  readonly lengthBytes: number;
  readonly info: VfioUserRegionInfo;
  readonly mappings: readonly Mapping[];
}

export class VmMonitor implements Disposable {
  readonly device: VfioUserClient;
  #bars: MappedBar[] = [];

  private constructor(device: VfioUserClient) {
    this.device = device;
  }

  static async connect(path: string): Promise<VmMonitor> {
    const socket = monitorOs.sockets.connect(path);
    return new VmMonitor(await connectVfioUser(socket, { clock: systemClock }));
  }

  get bars(): readonly MappedBar[] {
    return this.#bars;
  }

  bar(index: number): MappedBar {
    const bar = this.#bars.find((candidate) => candidate.index === index);
    assert(bar !== undefined, `a BAR ${index}`);
    return bar;
  }

  /** What happens before the guest runs: all is looked at, sized and mapped; then a reset. */
  async realize(): Promise<{ config: Uint8Array; irqCounts: number[]; romBytes: number }> {
    const { device } = this;
    const info = await device.deviceInfo();
    assert(info.regionCount <= 100 && info.irqCount <= 50, 'as many as QEMU takes');
    const regions = await Promise.all(
      Array.from({ length: info.regionCount }, (_, index) => device.regionInfo(index)),
    );
    const irqs = await Promise.all(
      Array.from({ length: info.irqCount }, (_, index) => device.irqInfo(index)),
    );
    const config = await device.regionRead(configRegion, 0, 256);
    const romBytes = await this.#sizeAt(romAt);
    for (let index = 0; index < barCount; index += 1) {
      const region = regions[index];
      if (region === undefined || region.lengthBytes === 0) continue;
      const lengthBytes = await this.#sizeAt(barsAt + 4 * index);
      const { fd } = region;
      const mappings = region.areas.map((area) => {
        assert(fd !== undefined, 'areas come with a descriptor');
        return monitorOs.memory.map(fd, {
          offsetBytes: region.fdOffsetBytes + area.offsetBytes,
          lengthBytes: area.lengthBytes,
          writable: (region.flags & 2) !== 0,
        });
      });
      fd?.close();
      this.#bars.push({ index, lengthBytes, info: region, mappings });
    }
    await device.reset();
    return { config, irqCounts: irqs.map(({ count }) => count), romBytes };
  }

  /** COMMAND, as a guest writes it: the whole register, other bits along with it. */
  async command(value: number): Promise<number> {
    await this.device.write16(configRegion, commandAt, value);
    return this.device.read16(configRegion, commandAt);
  }

  /** All of the guest's memory at once, without waiting for an answer in between. */
  async mapMemory(fd: Fd, pieces: readonly { iova: number; lengthBytes: number; at: number }[]) {
    await Promise.all(
      pieces.map(({ iova, lengthBytes, at }) =>
        this.device.dmaMap({
          iova: BigInt(iova),
          lengthBytes: BigInt(lengthBytes),
          offsetBytes: BigInt(at),
          readable: true,
          writable: true,
          fd: fd.duplicate(),
        }),
      ),
    );
  }

  [Symbol.dispose](): void {
    this.device.close();
    for (const { mappings } of this.#bars.splice(0)) {
      for (const mapping of mappings) mapping[Symbol.dispose]();
    }
  }

  async #sizeAt(offsetBytes: number): Promise<number> {
    const { device } = this;
    const before = await device.read32(configRegion, offsetBytes);
    await device.write32(configRegion, offsetBytes, 0xffff_ffff);
    const mask = await device.read32(configRegion, offsetBytes);
    await device.write32(configRegion, offsetBytes, before);
    return mask === 0 ? 0 : ((~(mask & ~0xf) >>> 0) + 1) >>> 0;
  }
}
