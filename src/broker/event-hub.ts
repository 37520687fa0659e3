// Events of the broker: to monitors, to the acquirer of the lease, to the log.
import type { Clock } from '../base/clock.js';
import { Listeners } from '../base/listeners.js';
import type { Logger } from '../base/log.js';
import type { EventRecord } from '../varlink/interface.js';

export type EventDetails = Omit<EventRecord, 'atMs'>;

export class EventHub {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #listeners = new Listeners<EventRecord>();

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Stamps and delivers an event. Listeners must not throw. */
  publish(details: EventDetails): void {
    const event: EventRecord = { atMs: Math.round(this.#clock.wallMs()), ...details };
    const { lease, slice, reason, phase, micros, outcome } = event;
    this.#log.debug(event.type, { lease, slice, reason, phase, micros, outcome });
    this.#listeners.emit(event);
  }

  subscribe(listener: (event: EventRecord) => void): Disposable {
    return this.#listeners.add(listener);
  }
}
