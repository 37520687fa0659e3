// QEMU's teaching device, which the test machine has behind an Intel IOMMU.
import { existsSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { AssertionFailure } from '../../src/base/errors.js';

export const eduAddress = '0000:00:05.0';
export const eduFolder = `/sys/bus/pci/devices/${eduAddress}`;

/** Gives a function to vfio-pci, if nobody has yet. @returns Path of its character device. */
export function bindFunction(address: string): string {
  const folder = `/sys/bus/pci/devices/${address}`;
  const driver = `${folder}/driver`;
  if (!existsSync(driver) || basename(readlinkSync(driver)) !== 'vfio-pci') {
    writeFileSync(`${folder}/driver_override`, 'vfio-pci');
    writeFileSync('/sys/bus/pci/drivers_probe', address);
  }
  const [name] = readdirSync(`${folder}/vfio-dev`);
  if (name === undefined) throw new AssertionFailure(`${address} has no character device`);
  return `/dev/vfio/devices/${name}`;
}

/** Gives it to vfio-pci, if nobody has yet. @returns Path of its character device. */
export function bindEdu(): string {
  return bindFunction(eduAddress);
}
