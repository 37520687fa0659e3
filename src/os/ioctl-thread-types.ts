// Ioctls that wait for hardware, on a descriptor of their own.

/** Makes ioctls on one borrowed descriptor, one after the other, in another thread. */
export interface IoctlThread extends AsyncDisposable {
  /**
   * An ioctl, after those before it.
   *
   * @param name - Of the call, for errors.
   * @param argument - The structure: copied now, written back when the call is answered, also when
   *   it failed. Descriptors named in it stay open until then.
   * @returns The non-negative result; a new descriptor, where it is one, is the caller's.
   * @throws OsError that names the call; LessorError `FUNCTION_GONE` when the thread ended: whether
   *   it was made is not known
   */
  call(name: string, request: number, argument: Uint8Array): Promise<number>;
  /** Resolves with a reason once no call is or will be made, in any way: the descriptor is free. */
  readonly ended: Promise<string>;
  /** Takes no more calls, waits for those under way and ends the thread. */
  [Symbol.asyncDispose](): Promise<void>;
}
