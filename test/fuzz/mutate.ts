// Makes a wrong message of a right one: one field, length, flag, command or descriptor at a time,
// sometimes several. Most stay close to what is right, so that they get past the first check.
import type { Random } from './random.js';

/** A message as it goes out. */
export interface Shape {
  readonly command: number;
  readonly messageId: number;
  readonly flags: number;
  readonly errno: number;
  /** What the header says beyond the real size. */
  readonly sizeError: number;
  readonly payload: Uint8Array;
  readonly fdCount: number;
}

type Mutation = (shape: Shape, random: Random) => Shape;

const words = [
  0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 23, 24, 31, 32, 33, 40, 79, 80, 255, 256, 0xfff,
  0x1000, 0x1001, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0xf_ffff, 0x10_0000, 0x10_0001, 0x40_0000,
  0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff,
];

function withPayload(shape: Shape, change: (view: DataView, bytes: Uint8Array) => void): Shape {
  const payload = shape.payload.slice();
  if (payload.length > 0) change(new DataView(payload.buffer), payload);
  return { ...shape, payload };
}

const field: Mutation = (shape, random) =>
  withPayload(shape, (view) => {
    const count = Math.floor(view.byteLength / 4);
    if (count === 0) return;
    // The fixed parts are what is checked; data behind them seldom is.
    const at = 4 * random.below(Math.min(count, random.percent(90) ? 12 : count));
    const old = view.getUint32(at, true);
    const value = random.percent(30)
      ? old + random.pick([-1, 1, 4, -4, 0x1000])
      : random.pick(words);
    view.setUint32(at, value >>> 0, true);
  });

const wideField: Mutation = (shape, random) =>
  withPayload(shape, (view) => {
    const count = Math.floor(view.byteLength / 8);
    if (count === 0) return;
    const at = 8 * random.below(Math.min(count, 8));
    const value = random.pick([0n, 1n, 1n << 52n, 1n << 53n, 1n << 63n, (1n << 64n) - 1n]);
    view.setBigUint64(at, value, true);
  });

const bit: Mutation = (shape, random) =>
  withPayload(shape, (_view, bytes) => {
    const at = random.below(Math.min(bytes.length, 64));
    bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
  });

const cut: Mutation = (shape, random) => {
  const length = Math.max(0, shape.payload.length - random.between(1, 32));
  return { ...shape, payload: shape.payload.slice(0, length) };
};

const grow: Mutation = (shape, random) => {
  const tail = random.bytes(random.between(1, 32));
  return { ...shape, payload: new Uint8Array(Buffer.concat([shape.payload, tail])) };
};

const command: Mutation = (shape, random) => ({ ...shape, command: random.below(21) });
const noReply: Mutation = (shape) => ({ ...shape, flags: (shape.flags ^ 0x10) >>> 0 });
const errorFlag: Mutation = (shape, random) => ({
  ...shape,
  flags: (shape.flags ^ 0x20) >>> 0,
  errno: random.pick([0, 1, 5, 13, 22, 9999]),
});
const someFlag: Mutation = (shape, random) => ({
  ...shape,
  flags: (shape.flags ^ (1 << random.between(6, 31))) >>> 0,
});
const errno: Mutation = (shape, random) => ({ ...shape, errno: random.pick(words) });
const descriptors: Mutation = (shape, random) => ({
  ...shape,
  fdCount: random.pick([0, 1, 1, 2, 3, 16]),
});
const payload: Mutation = (shape, random) => ({
  ...shape,
  payload: random.bytes(random.below(64)),
});
const type: Mutation = (shape, random) => ({
  ...shape,
  flags: ((shape.flags & ~0xf) | random.below(16)) >>> 0,
});
const size: Mutation = (shape, random) => ({
  ...shape,
  sizeError: random.pick([-20, -8, -1, 1, 8, 20, 2 ** 31]),
});
const id: Mutation = (shape, random) => ({ ...shape, messageId: random.below(0x1_0000) });

/** With weights: those at the end mostly end a connection, and with it everything behind. */
const gentle: readonly Mutation[] = [
  ...[field, field, field, field, field, field, wideField, wideField, bit, bit, cut, grow],
  ...[noReply, payload, errorFlag],
];
const harsh: readonly Mutation[] = [type, size, id, command, descriptors, someFlag, errno];

/**
 * @param share - Of a hundred, how many are changed at all.
 * @param harshShare - Of a hundred of those, how many in a way that a connection may not survive.
 */
export function mutate(shape: Shape, random: Random, share: number, harshShare: number): Shape {
  if (!random.percent(share)) return shape;
  let result = shape;
  for (let left = random.pick([1, 1, 1, 2, 3]); left > 0; left--) {
    const mutation = random.pick(random.percent(harshShare) ? harsh : gentle);
    result = mutation(result, random);
  }
  return result;
}
