// What every lease of a broker shares.
import type { Logger } from '../base/log.js';
import type { PciFunction } from '../function/types.js';
import type { EventSignaller } from '../os/event-types.js';
import type { Os } from '../os/os-types.js';
import type { EventHub } from './event-hub.js';
import type { Deadlines, Switches } from './options.js';
import type { WindowBook } from './window-book.js';

export interface BrokerContext {
  readonly os: Os;
  readonly fn: PciFunction;
  readonly hub: EventHub;
  readonly log: Logger;
  /** The windows of all leases, by their descriptors. */
  readonly windows: WindowBook;
  readonly switches: Switches;
  readonly deadlines: Deadlines;
  /** Of the function's present life; +1 per reset and per broker start. */
  readonly epoch: number;
  /** Signals the request interrupts, from the main thread. */
  readonly signaller: EventSignaller;
  /** The device did not let go or acknowledge in time: the whole function must be reset. */
  functionStuck(reason: string): void;
  /** Something that we guarantee did not hold. */
  bug(error: unknown): void;
}
