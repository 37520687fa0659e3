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

/** Names the descriptor of the iommufd itself. */
export const contextKey = -2;

export interface FileAction {
  readonly key: number;
  /** Reads and writes have the data pages as their buffer; an open gives a descriptor. */
  readonly action: 'read' | 'write' | 'close' | 'ioctl' | 'open device';
  readonly lengthBytes: number;
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
  /** On another file than the iommufd's own. */
  readonly file?: FileAction;
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
