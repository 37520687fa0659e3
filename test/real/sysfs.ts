// Functions of the guest and their drivers, by sysfs alone: what cases stand on is not under test.
import { existsSync, readlinkSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';

const pci = '/sys/bus/pci';

/** The driver that has a function. */
export function driverOf(address: string): string | undefined {
  const link = `${pci}/devices/${address}/driver`;
  return existsSync(link) ? basename(readlinkSync(link)) : undefined;
}

/** Has vfio-pci take a function that no other driver has. */
export function bindToVfio(address: string): void {
  if (driverOf(address) === 'vfio-pci') return;
  writeFileSync(`${pci}/devices/${address}/driver_override`, 'vfio-pci');
  writeFileSync(`${pci}/drivers_probe`, address);
  if (driverOf(address) !== 'vfio-pci') throw new Error(`vfio-pci did not take ${address}`);
}
