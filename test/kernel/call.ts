// One call in full: what is in memory before, and what is asked.

/** Where the structure lies: what follows it, and whether it can be written or read at all. */
export type Place = 'plain' | 'before-hole' | 'read-only' | 'hole';

export interface DataBlock {
  /** From the start of the data pages. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** A field with a descriptor, which has another number on each side. */
export interface DescriptorField {
  readonly offset: number;
  /** Names the descriptor; unknown ones stay what the structure says. */
  readonly key: number;
}

export interface Call {
  /** As pairs and reports name it. */
  readonly name: string;
  readonly request: number;
  /** The structure; or a value that is passed as it is. */
  readonly argument: Uint8Array | number;
  readonly place: Place;
  readonly data: readonly DataBlock[];
  readonly descriptors: readonly DescriptorField[];
  /** Offset of a field that receives a descriptor. */
  readonly descriptorAt?: number;
  /** Instead of an ioctl: on the file of a descriptor, with the data pages as the buffer. */
  readonly file?: {
    readonly key: number;
    readonly action: 'read' | 'write' | 'close';
    readonly lengthBytes: number;
  };
  /** For a person: the fields that were set. */
  readonly text: string;
}

/** What both sides did, and the memory after it on the first. */
export interface Done {
  readonly call: Call;
  /** Of the first side; below zero: minus an errno. */
  readonly result: number;
  /** The structure after the call on the first side. */
  readonly bytes: Uint8Array;
  /** Names the descriptor that was returned. */
  readonly key?: number;
}
