// What QEMU (10.1 or newer) is told to take a lease as a PCI device of its guest.

/**
 * Arguments of qemu-system-x86_64.
 *
 * @param path - Of the socket, absolute.
 * @param memoryBytes - Of the guest. It must be a shared memfd, for the device to reach it.
 */
export function qemuArguments(path: string, memoryBytes: number): string[] {
  const device = { driver: 'vfio-user-pci', socket: { type: 'unix', path } };
  return [
    '-object',
    `memory-backend-memfd,id=lessor-ram,share=on,size=${memoryBytes}`,
    '-machine',
    'q35,memory-backend=lessor-ram',
    '-device',
    JSON.stringify(device),
  ];
}

/** The words as a shell takes them. */
export function shellWords(words: readonly string[]): string {
  const quoted = words.map((word) =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`,
  );
  return quoted.join(' ');
}
