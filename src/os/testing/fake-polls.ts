// Level-triggered readiness in memory: callbacks come from later turns of the event loop.
import { errnoNumber } from '../../base/errno.js';
import type { PollCalls } from '../native-sockets.js';

interface Handle {
  readonly fd: number;
  readonly callback: (events: number) => void;
  events: number;
}

const EBADF = errnoNumber('EBADF');
const EEXIST = errnoNumber('EEXIST');

export class FakePolls implements PollCalls {
  readonly #readyEvents: (fd: number) => number | undefined;
  readonly #handles = new Map<number, Handle>();
  #nextHandle = 0;
  #scheduled = false;

  /** @param readyEvents - What `fd` is ready for now; undefined when it is not open. */
  constructor(readyEvents: (fd: number) => number | undefined) {
    this.#readyEvents = readyEvents;
  }

  pollStart(fd: number, events: number, callback: (events: number) => void): number {
    if (this.#readyEvents(fd) === undefined) return -EBADF;
    for (const handle of this.#handles.values()) if (handle.fd === fd) return -EEXIST;
    const number = this.#nextHandle++;
    this.#handles.set(number, { fd, callback, events });
    this.changed();
    return number;
  }

  pollUpdate(number: number, events: number): number {
    const handle = this.#handles.get(number);
    if (handle === undefined) return -EBADF;
    handle.events = events;
    this.changed();
    return 0;
  }

  pollStop(number: number): number {
    return this.#handles.delete(number) ? 0 : -EBADF;
  }

  pollReference(number: number): number {
    return this.#handles.has(number) ? 0 : -EBADF;
  }

  /** Something became ready, or may have. */
  changed(): void {
    if (this.#scheduled || ![...this.#handles.values()].some((each) => this.#ready(each) !== 0)) {
      return;
    }
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      for (const [number, handle] of [...this.#handles]) {
        const ready = this.#ready(handle);
        if (ready !== 0 && this.#handles.has(number)) handle.callback(ready);
      }
      this.changed();
    });
  }

  #ready(handle: Handle): number {
    return (this.#readyEvents(handle.fd) ?? 0) & handle.events;
  }
}
