// Request numbers of VFIO and iommufd: one type character, neither direction nor size.

/** `_IO(';', number)`. */
export function vfioIoctl(number: number): number {
  return (0x3b << 8) | number;
}
