// Addresses of PCI functions as people write them, and the one spelling that sysfs has.
import { LessorError } from '../../base/errors.js';

/** Domains are 32 bits wide: some hosts put functions behind a controller into one past ffff. */
const form = /^(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-1]?[0-9a-f])\.([0-7])$/i;

/** The address in sysfs's spelling, `0000:00:05.0`; undefined for what is none. */
export function pciAddressOf(text: string): string | undefined {
  const match = form.exec(text);
  if (match === null) return undefined;
  const [, domain = '0', bus = '', slot = '', fn = ''] = match;
  const hex = (digits: string, width: number): string =>
    Number.parseInt(digits, 16).toString(16).padStart(width, '0');
  return `${hex(domain, 4)}:${hex(bus, 2)}:${hex(slot, 2)}.${fn}`;
}

/**
 * Reads the address of a PCI function: `0000:00:05.0`, or `00:05.0` in domain 0.
 *
 * @returns The spelling of sysfs: lower case, the domain in four digits or as many as it takes.
 * @throws LessorError `INVALID_ARGUMENT`
 */
export function parsePciAddress(text: string): string {
  const address = pciAddressOf(text);
  if (address !== undefined) return address;
  throw new LessorError('INVALID_ARGUMENT', `"${text}" is no address of a PCI function`, {
    hint: 'write it as "lspci -D" does: 0000:00:05.0, or 00:05.0',
  });
}
