// Where maps and copies go, against a second model: a map of cells, of which each is free or not.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { u64Max } from '../requests.js';
import { errnoOf } from '../testing/errno-of.js';
import { createIoasWorld, FIXED, R } from '../testing/ioas-world.js';

/** Everything begins and ends at a multiple of it; less than any alignment of a table. */
const cell = 512;
/** More than all maps of a run and what is lost between them; the last cells stay free. */
const cellCount = 2048;
/** What the device reaches. */
const apertureCells = 160;
const reservedCells = [
  { from: 24, to: 32 },
  { from: 77, to: 84 },
] as const;
const tablePage = 2048;

interface Span {
  readonly from: number;
  readonly to: number;
}

interface ModelArea extends Span {
  /** First cell of the source. */
  readonly source: number;
}

class CellModel {
  areas: ModelArea[] = [];
  allowed: readonly Span[] = [];
  readonly hasDomain: boolean;

  constructor(hasDomain: boolean) {
    this.hasDomain = hasDomain;
  }

  get #alignment(): number {
    return this.hasDomain ? tablePage / cell : 1;
  }

  isReserved(at: number): boolean {
    if (!this.hasDomain) return false;
    return at >= apertureCells || reservedCells.some(({ from, to }) => at >= from && at < to);
  }

  #isUsed(at: number): boolean {
    return this.areas.some(({ from, to }) => at >= from && at < to);
  }

  /** Reserved cells of a list refuse it as a whole. */
  allow(spans: readonly Span[]): string | undefined {
    const cells = spans.flatMap(cellsOf);
    if (new Set(cells).size < cells.length) return 'EINVAL';
    if (cells.some((at) => this.isReserved(at))) return 'EADDRINUSE';
    this.allowed = spans;
    return undefined;
  }

  fixed(at: number, length: number, source: number): number | string {
    if (length % this.#alignment !== 0 || at % this.#alignment !== 0) return 'EINVAL';
    const cells = cellsOf({ from: at, to: at + length });
    if (cells.some((each) => this.isReserved(each))) return 'EINVAL';
    if (cells.some((each) => this.#isUsed(each))) return 'EEXIST';
    if (source % this.#alignment !== 0) return 'EINVAL';
    return this.#add(at, length, source);
  }

  automatic(length: number, source: number): number | string {
    if (length % this.#alignment !== 0) return 'EINVAL';
    if (source % this.#alignment !== 0) return 'EINVAL';
    // The largest power of two that the source has, and the smallest one that holds the length.
    let unit = 1;
    while (unit * cell < length * cell && unit < 4096 && source % (unit * 2) === 0) unit *= 2;
    const offset = source % (4096 / cell);
    const candidate = (from: number) => (Math.ceil(from / unit) * unit) | offset;
    for (const span of runsOf((at) => this.#isAllowed(at))) {
      // Linux looks for a place in the whole span before it looks at what is used there.
      const first = candidate(span.from);
      const isFree = (at: number) => {
        const isInside = at >= first && at < span.to;
        return isInside && !this.#isUsed(at) && !this.isReserved(at);
      };
      for (const { from, to } of runsOf(isFree)) {
        const at = candidate(from);
        if (at + length <= to) return this.#add(at, length, source);
      }
    }
    return 'ENOSPC';
  }

  #isAllowed(at: number): boolean {
    if (at < 4096 / cell) return false;
    return this.allowed.length === 0 || this.allowed.some(({ from, to }) => at >= from && at < to);
  }

  #add(from: number, length: number, source: number): number {
    this.areas.push({ from, to: from + length, source });
    return from;
  }
}

/** As long as may be, ascending. */
function runsOf(isIn: (at: number) => boolean): Span[] {
  const runs: Span[] = [];
  let start: number | undefined;
  for (let at = 0; at <= cellCount; at++) {
    if (at < cellCount && isIn(at)) start ??= at;
    else if (start !== undefined) {
      runs.push({ from: start, to: at });
      start = undefined;
    }
  }
  return runs;
}

function cellsOf({ from, to }: Span): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

const bytesOf = (cells: number) => BigInt(cells * cell);
/** Mostly aligned to a table's page. */
const aligned = (max: number) =>
  fc.oneof({ weight: 5, arbitrary: fc.nat(max / 4).map((at) => at * 4) }, fc.nat(max));
const length = aligned(20).map((cells) => Math.max(1, cells));
const span = fc
  .record({ from: aligned(140), length })
  .map(({ from, length: cells }) => ({ from, to: from + cells }));

const step = fc.oneof(
  fc.record({ kind: fc.constant('fixed' as const), at: aligned(148), length, source: aligned(64) }),
  fc.record({ kind: fc.constant('automatic' as const), length, source: aligned(64) }),
  fc.record({ kind: fc.constant('automatic' as const), length, source: aligned(64) }),
  fc.record({
    kind: fc.constant('copy' as const),
    area: fc.nat(),
    skip: aligned(8),
    length,
  }),
  fc.record({ kind: fc.constant('unmap' as const), area: fc.nat() }),
  fc.record({
    kind: fc.constant('allow' as const),
    spans: fc.array(span, { maxLength: 4 }),
  }),
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function setUp(hasDomain: boolean) {
  const world = createIoasWorld();
  const model = new CellModel(hasDomain);
  const { iommufd, ioasId } = world;
  if (hasDomain) {
    const aperture = { start: 0n, last: bytesOf(apertureCells) - 1n };
    const reserved = reservedCells.map(({ from, to }) => {
      return { start: bytesOf(from), last: bytesOf(to) - 1n };
    });
    const unit = world.createUnit({ pageBytes: tablePage, aperture, reserved });
    iommufd.bind(unit).attach(ioasId);
  }
  return { ...world, model };
}

function found(value: bigint | string): number | string {
  return typeof value === 'bigint' ? Number(value) / cell : value;
}

function run(world: ReturnType<typeof setUp>, each: Step) {
  const { iommufd, ioasId, model, map } = world;
  if (each.kind === 'allow') {
    const ranges = each.spans.map(({ from, to }) => {
      return { start: bytesOf(from), last: bytesOf(to) - 1n };
    });
    const given = errnoOf(() => iommufd.ioasAllowIovas(ioasId, ranges));
    expect(given).toBe(model.allow(each.spans));
    return;
  }
  if (each.kind === 'unmap' || each.kind === 'copy') {
    const area = model.areas[each.area % Math.max(1, model.areas.length)];
    if (area === undefined) return;
    const areaCells = area.to - area.from;
    if (each.kind === 'unmap') {
      const removed = world.unmap(bytesOf(area.from), bytesOf(areaCells));
      expect(removed).toBe(bytesOf(areaCells));
      model.areas = model.areas.filter((one) => one !== area);
      return;
    }
    const skip = Math.min(each.skip, areaCells - 1);
    const cells = Math.min(each.length, areaCells - skip);
    const ids = { dstIoasId: ioasId, srcIoasId: ioasId };
    const range = { srcIova: bytesOf(area.from + skip), length: bytesOf(cells), dstIova: 0n };
    const copied = errnoOf(() => iommufd.ioasCopy({ flags: R, ...ids, ...range }));
    expect(found(copied)).toBe(model.automatic(cells, area.source + skip));
    return;
  }
  const what = { length: bytesOf(each.length), start: bytesOf(each.source) };
  if (each.kind === 'fixed') {
    const given = map({ ...what, flags: FIXED | R, iova: bytesOf(each.at) });
    expect(found(given)).toBe(model.fixed(each.at, each.length, each.source));
  } else {
    expect(found(map({ ...what, flags: R }))).toBe(model.automatic(each.length, each.source));
  }
}

test.each([
  ['without a device', false],
  ['with tables of 2 KiB pages, a small aperture and reserved ranges', true],
])('5.4 I2 I4 I13 maps and copies go where the model of cells has them, %s', (_name, hasDomain) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const world = setUp(hasDomain);
      const { model } = world;
      for (const each of steps) run(world, each);
      const cells = model.areas.flatMap(cellsOf);
      expect(cells.some((at) => model.isReserved(at))).toBe(false);
      expect(new Set(cells).size).toBe(cells.length);
      expect(world.unmap(0n, u64Max)).toBe(bytesOf(cells.length));
      expect(world.extents.count).toBe(0);
    }),
    { numRuns: 300 },
  );
});
