// How a structure is handed over: nearly always as it should be, else in a way that the entry of
// every command has to judge.
import fc from 'fast-check';
import type { Call, Place } from './call.js';
import type { Draft } from './command.js';
import { weighted } from './values.js';

export type Frame =
  | { readonly kind: 'right' }
  /** The size field says something else than the structure has. */
  | { readonly kind: 'size'; readonly size: number }
  | { readonly kind: 'shorter'; readonly by: number }
  /** More bytes than the kernel knows, all of one value. */
  | { readonly kind: 'longer'; readonly by: number; readonly fill: number }
  | { readonly kind: 'before-hole'; readonly by: number }
  | { readonly kind: 'place'; readonly place: Place }
  /** Bits of direction and size in the request, or of another number. */
  | { readonly kind: 'request'; readonly bits: number };

export const frame: fc.Arbitrary<Frame> = weighted<Frame>(
  [120, fc.constant({ kind: 'right' })],
  [1, fc.constantFrom(0, 1, 4, 7, 4096, 5000, 0xffff_ffff).map((size) => ({ kind: 'size', size }))],
  [1, fc.constantFrom(1, 4, 8, 16).map((by) => ({ kind: 'shorter', by }))],
  [
    1,
    fc.record({
      kind: fc.constant('longer' as const),
      by: fc.constantFrom(1, 4, 8, 100),
      fill: fc.constantFrom(0, 0, 1),
    }),
  ],
  [1, fc.constantFrom(0, 0, 8, 4096).map((by) => ({ kind: 'before-hole', by }))],
  [
    2,
    fc.constantFrom<Place>('read-only', 'read-only', 'hole').map((place) => {
      return { kind: 'place', place };
    }),
  ],
  [
    1,
    fc
      .constantFrom(0x8000_0000, 0x4000_0000, 0x0008_0000)
      .map((bits) => ({ kind: 'request', bits })),
  ],
);

/** The call that hands over a draft in a frame. Only structures have frames. */
export function framed(name: string, draft: Draft, how: Frame): Call {
  const { request, argument, text } = draft;
  const base = {
    name,
    request,
    argument,
    place: 'plain' as Place,
    data: draft.data ?? [],
    descriptors: draft.descriptors ?? [],
    text,
    ...(draft.descriptorAt === undefined ? {} : { descriptorAt: draft.descriptorAt }),
    ...(draft.file === undefined ? {} : { file: draft.file }),
  };
  const hasStruct =
    typeof argument !== 'number' && (draft.file === undefined || draft.file.action === 'ioctl');
  if (!hasStruct || how.kind === 'right') return base;
  return { ...base, ...reframe(argument, request, how), text: `${text} [${show(how)}]` };
}

function reframe(bytes: Uint8Array, request: number, how: Frame): Partial<Call> {
  switch (how.kind) {
    case 'right':
      return {};
    case 'size':
      return { argument: sized(bytes, how.size) };
    case 'shorter': {
      const length = Math.max(8, bytes.length - how.by);
      return { argument: sized(bytes.slice(0, length), length) };
    }
    case 'longer': {
      const longer = new Uint8Array(bytes.length + how.by).fill(how.fill);
      longer.set(bytes);
      return { argument: sized(longer, longer.length) };
    }
    case 'before-hole':
      return { argument: sized(bytes, bytes.length + how.by), place: 'before-hole' };
    case 'place':
      return { place: how.place };
    case 'request':
      return { request: (request | how.bits) >>> 0 };
  }
}

function sized(bytes: Uint8Array, size: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(0, size, true);
  return copy;
}

function show(how: Frame): string {
  const { kind, ...rest } = how;
  return [kind, ...Object.values(rest)].join(' ');
}
