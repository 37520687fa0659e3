// Another process that holds descriptors of a test's memory and does what it is told. Its first
// descriptor is number 4.
import { loadNative } from '../native.js';
import { nativeGuardModes } from '../native-memory.js';

/** Results are those of the addon: -errno below zero. */
export type PeerCall =
  | { readonly do: 'truncate'; readonly fd: number; readonly lengthBytes: number }
  | { readonly do: 'addSeals'; readonly fd: number; readonly seals: number }
  | { readonly do: 'reopen'; readonly fd: number; readonly flags: number }
  /** Keeps the mapping, under the guard; the result is its number, from 0. */
  | { readonly do: 'map'; readonly fd: number; readonly bytes: number; readonly writable: boolean }
  | { readonly do: 'load'; readonly mapping: number; readonly index: number }
  | { readonly do: 'store'; readonly mapping: number; readonly index: number; value: number }
  | { readonly do: 'setuid'; readonly uid: number };

export interface PeerReply {
  readonly result: number;
}

const native = loadNative();
const mappings: Uint32Array[] = [];

function map(fd: number, bytes: number, writable: boolean): number {
  const buffer = native.map(fd, 0, bytes, writable, nativeGuardModes.ones, new Int32Array(1));
  return typeof buffer === 'number' ? buffer : mappings.push(new Uint32Array(buffer)) - 1;
}

function store(mapping: number, index: number, value: number): number {
  mappings[mapping]![index] = value;
  return 0;
}

function perform(call: PeerCall): number {
  switch (call.do) {
    case 'truncate':
      return native.ftruncate(call.fd, call.lengthBytes);
    case 'addSeals':
      return native.addSeals(call.fd, call.seals);
    case 'reopen':
      return native.reopen(call.fd, call.flags);
    case 'map':
      return map(call.fd, call.bytes, call.writable);
    case 'load':
      return mappings[call.mapping]![call.index]!;
    case 'store':
      return store(call.mapping, call.index, call.value);
    case 'setuid':
      process.setuid!(call.uid);
      return 0;
  }
}

process.on('message', (call: PeerCall) => process.send!({ result: perform(call) }));
process.on('disconnect', () => process.exit());
