// What the thread of a descriptor's ioctls and the main thread tell each other.

export interface IoctlThreadData {
  /** Number of the descriptor, owned elsewhere. */
  readonly descriptor: number;
}

export interface IoctlRequest {
  readonly callId: number;
  readonly request: number;
  readonly bytes: Uint8Array;
}

export interface IoctlReply {
  readonly callId: number;
  /** Of the call; -errno when it failed. */
  readonly result: number;
  /** As the kernel left them. */
  readonly bytes: Uint8Array;
}
