// Which slice is free, leased or in quarantine. The one place that says so.
import { assert, LessorError } from '../base/errors.js';
import type { Slice } from '../driver/types.js';

export type SliceStatus =
  | { readonly state: 'free' }
  | { readonly state: 'leased'; readonly leaseId: string }
  | { readonly state: 'quarantined'; readonly leaseId: string };

const free: SliceStatus = { state: 'free' };

export class Inventory {
  readonly #slices: readonly Slice[];
  readonly #status = new Map<string, SliceStatus>();

  constructor(slices: readonly Slice[]) {
    this.#slices = slices;
    for (const slice of slices) {
      assert(!this.#status.has(slice.name), `two slices are named ${slice.name}`);
      this.#status.set(slice.name, free);
    }
  }

  get slices(): readonly Slice[] {
    return this.#slices;
  }

  status(name: string): SliceStatus {
    const status = this.#status.get(name);
    if (status === undefined) throw new LessorError('UNKNOWN_SLICE', `no slice "${name}"`);
    return status;
  }

  /**
   * Slices that fit a request, in order.
   *
   * @throws LessorError `UNKNOWN_KIND`, `UNKNOWN_SLICE` when none could ever fit.
   */
  candidates(wanted: { readonly kind?: string; readonly slice?: string }): readonly Slice[] {
    if (wanted.slice !== undefined) this.status(wanted.slice);
    const fitting = this.#slices.filter(
      (slice) =>
        (wanted.slice === undefined || slice.name === wanted.slice) &&
        (wanted.kind === undefined || slice.kind === wanted.kind),
    );
    if (fitting.length === 0) {
      throw new LessorError('UNKNOWN_KIND', `no slice of kind "${wanted.kind}"`);
    }
    return fitting;
  }

  isFree(slice: Slice): boolean {
    return this.status(slice.name).state === 'free';
  }

  lease(slice: Slice, leaseId: string): void {
    assert(this.isFree(slice), `${slice.name} is leased twice`);
    this.#status.set(slice.name, { state: 'leased', leaseId });
  }

  quarantine(slice: Slice, leaseId: string): void {
    assert(!this.isFree(slice), `${slice.name} was not leased`);
    this.#status.set(slice.name, { state: 'quarantined', leaseId });
  }

  release(slice: Slice): void {
    assert(!this.isFree(slice), `${slice.name} is freed twice`);
    this.#status.set(slice.name, free);
  }

  /** Names of leases that hold one of these slices, for a busy answer. */
  holders(slices: readonly Slice[]): readonly { slice: string; leaseId: string; state: string }[] {
    return slices.flatMap((slice) => {
      const status = this.status(slice.name);
      if (status.state === 'free') return [];
      return [{ slice: slice.name, leaseId: status.leaseId, state: status.state }];
    });
  }
}
