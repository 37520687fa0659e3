// QEMU's teaching device, which the test machine has behind an Intel IOMMU.
import { existsSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { AssertionFailure } from '../../src/base/errors.js';

export const eduAddress = '0000:00:05.0';
export const eduFolder = `/sys/bus/pci/devices/${eduAddress}`;

/** Gives it to vfio-pci, if nobody has yet. @returns Path of its character device. */
export function bindEdu(): string {
  const driver = `${eduFolder}/driver`;
  if (!existsSync(driver) || basename(readlinkSync(driver)) !== 'vfio-pci') {
    writeFileSync(`${eduFolder}/driver_override`, 'vfio-pci');
    writeFileSync('/sys/bus/pci/drivers_probe', eduAddress);
  }
  const [name] = readdirSync(`${eduFolder}/vfio-dev`);
  if (name === undefined) throw new AssertionFailure(`${eduAddress} has no character device`);
  return `/dev/vfio/devices/${name}`;
}
