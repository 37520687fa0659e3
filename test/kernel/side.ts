// One of the two that are compared.

/** Below zero: minus the number of an errno. `crash`: what came instead of a result. */
export interface Outcome {
  readonly result: number;
  readonly crash?: string;
  /** Of a file that was opened. */
  readonly descriptor?: number;
}

export interface Side {
  readonly name: string;
  /** Number of the iommufd. */
  readonly context: number;
  /** @param argument - An address in this process, or a value. */
  ioctl(request: number, argument: number): Outcome;
  /** read(2) on a descriptor that a call returned. */
  read(descriptor: number, address: number, lengthBytes: number): Outcome;
  write(descriptor: number, address: number, lengthBytes: number): Outcome;
  /** The character device of the one VFIO device: closed with the rest. */
  openDevice(): Outcome;
  /** On a descriptor of `openDevice`. */
  deviceIoctl(descriptor: number, request: number, argument: number): Outcome;
  /** A call returned it: closed with the rest unless it is closed before. */
  adopt(descriptor: number): void;
  /** Also the iommufd's own. */
  closeDescriptor(descriptor: number): void;
  /** Closes the context with all that is live in it. */
  close(): void;
}
