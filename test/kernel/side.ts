// One of the two that are compared.

/** Below zero: minus the number of an errno. `crash`: what came instead of a result. */
export interface Outcome {
  readonly result: number;
  readonly crash?: string;
}

export interface Side {
  readonly name: string;
  /** @param argument - An address in this process, or a value. */
  ioctl(request: number, argument: number): Outcome;
  /** read(2) on a descriptor that a call returned. */
  read(descriptor: number, address: number, lengthBytes: number): Outcome;
  write(descriptor: number, address: number, lengthBytes: number): Outcome;
  /** A call returned it: closed with the rest unless it is closed before. */
  adopt(descriptor: number): void;
  closeDescriptor(descriptor: number): void;
  /** Closes the context with all that is live in it. */
  close(): void;
}
