// All of EDU as one slice: what grant, quiesce, reset and ungrant mean in its registers.
import type { Clock } from '../../base/clock.js';
import { assert, LessorError } from '../../base/errors.js';
import { edu } from '../../device/edu/registers.js';
import type { FunctionInfo } from '../../function/types.js';
import { pollIdle } from '../poll.js';
import type { Slice, Terms, WindowSpec } from '../types.js';
import type { EduRegisters } from './edu-registers.js';
import type { OwnPage } from './own-page.js';

/** All registers are in it. */
const windowBytes = 4096;

export class EduSlice implements Slice {
  readonly name = 'edu';
  readonly kind = 'edu';
  readonly windows: readonly WindowSpec[];
  readonly vectors: readonly number[];
  readonly #registers: EduRegisters;
  readonly #ownPage: OwnPage;
  readonly #clock: Clock;
  #granted = false;

  constructor(info: FunctionInfo, registers: EduRegisters, ownPage: OwnPage, clock: Clock) {
    const region = info.regions.find(({ index }) => index === edu.registerRegion);
    this.windows = [
      {
        name: 'registers',
        region: edu.registerRegion,
        offsetBytes: 0,
        lengthBytes: windowBytes,
        access: 'read-write',
        mappable: region?.mappable === true,
      },
    ];
    this.vectors = info.vectorCount > 0 ? [0] : [];
    this.#registers = registers;
    this.#ownPage = ownPage;
    this.#clock = clock;
  }

  /** Holds a grant. */
  get isGranted(): boolean {
    return this.#granted;
  }

  /** There is nothing to confine: whoever has the function has all of what it can reach. */
  async grant(terms: Terms): Promise<void> {
    assert(!this.#granted, 'edu is granted already');
    assert(terms.pasid === undefined && terms.bounds === undefined, 'terms of an exclusive lease');
    await this.#registers.identify();
    await this.#proveIdle();
    await this.#registers.forget();
    await this.#ownPage.fillBuffer(0);
    await this.#registers.clear();
    this.#granted = true;
  }

  /** A transfer cannot be aborted; nobody can start another, as the cut came before this. */
  async quiesce(signal: AbortSignal): Promise<'idle' | 'busy'> {
    await this.#registers.write('STATUS', 0);
    return pollIdle(() => this.#registers.lookQuiet(), this.#clock, signal);
  }

  /** No force is to be had: what is under way ends by itself, then the registers are put back. */
  async reset(signal: AbortSignal): Promise<'idle' | 'busy'> {
    const result = await this.quiesce(signal);
    if (result === 'idle') await this.#registers.clear();
    return result;
  }

  /** Leaves no address in the registers. The memory behind them is the broker's to unmap. */
  async ungrant(): Promise<void> {
    await this.#proveIdle();
    await this.#registers.clear();
    this.#granted = false;
  }

  /** To a known state, whatever was before. @returns False when it does not come to rest. */
  async bringUp(signal: AbortSignal): Promise<boolean> {
    this.#granted = false;
    await this.#registers.identify();
    return (await this.reset(signal)) === 'idle';
  }

  /** @throws LessorError `DRIVER_FAILED` unless nothing is under way now. */
  async #proveIdle(): Promise<void> {
    const seen = await this.#registers.lookQuiet();
    if (seen !== 'idle') throw new LessorError('DRIVER_FAILED', `edu is not idle but ${seen}`);
  }
}
