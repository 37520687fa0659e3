// What a device is to whoever used it before its server died: ids, regions, interrupt counts.
// Nothing of it may differ when the server is back.
import { VFIO_PCI_CONFIG_REGION_INDEX } from '../uapi/vfio.js';
import type { VfioUserClient } from './client.js';

interface RegionShape {
  readonly lengthBytes: number;
  readonly readable: boolean;
  readonly writable: boolean;
}

export interface DeviceIdentity {
  /** VFIO_DEVICE_FLAGS_*. */
  readonly flags: number;
  readonly regions: readonly RegionShape[];
  /** Interrupts of each index. */
  readonly irqCounts: readonly number[];
  /** Vendor, device, revision, class and subsystem of configuration space, in hexadecimal. */
  readonly ids: string;
}

/** Where configuration space holds ids: offset and length in bytes. */
const idFields = [
  [0x00, 4],
  [0x08, 4],
  [0x2c, 4],
] as const;
const headerBytes = 0x40;

async function readIds(client: VfioUserClient, config: RegionShape | undefined): Promise<string> {
  if (config === undefined || config.lengthBytes < headerBytes || !config.readable) return '';
  const bytes = await client.regionRead(VFIO_PCI_CONFIG_REGION_INDEX, 0, headerBytes);
  const fields = idFields.map(([at, length]) => bytes.subarray(at, at + length));
  return Buffer.concat(fields).toString('hex');
}

/** Asks a server what it serves. Rejects as the client's methods do. */
export async function readIdentity(client: VfioUserClient): Promise<DeviceIdentity> {
  const { flags, regionCount, irqCount } = await client.deviceInfo();
  const regions: RegionShape[] = [];
  for (let index = 0; index < regionCount; index += 1) {
    const { lengthBytes, readable, writable, fd } = await client.regionInfo(index);
    fd?.close();
    regions.push({ lengthBytes, readable, writable });
  }
  const irqCounts: number[] = [];
  for (let index = 0; index < irqCount; index += 1) {
    irqCounts.push((await client.irqInfo(index)).count);
  }
  const ids = await readIds(client, regions[VFIO_PCI_CONFIG_REGION_INDEX]);
  return { flags, regions, irqCounts, ids };
}

function describe(value: unknown): string {
  return value === undefined ? 'none' : JSON.stringify(value);
}

/** The first thing that differs, for people; undefined when they are the same device. */
export function differenceOf(before: DeviceIdentity, after: DeviceIdentity): string | undefined {
  const differs = (what: string, one: unknown, other: unknown): string | undefined => {
    const [was, is] = [describe(one), describe(other)];
    return was === is ? undefined : `${what} ${is} instead of ${was}`;
  };
  const list = (what: string, one: readonly unknown[], other: readonly unknown[]) => {
    for (let index = 0; index < Math.max(one.length, other.length); index += 1) {
      const difference = differs(`${what} ${index}:`, one[index], other[index]);
      if (difference !== undefined) return difference;
    }
    return undefined;
  };
  return (
    differs('ids', before.ids, after.ids) ??
    differs('device flags', before.flags, after.flags) ??
    list('region', before.regions, after.regions) ??
    list('interrupts of index', before.irqCounts, after.irqCounts)
  );
}
