// One signaller for all devices of a thread: making one costs the kernel tens of milliseconds.
import type { EventOs, EventSignaller } from '../../os/event-types.js';

interface Entry {
  readonly signaller: EventSignaller;
  userCount: number;
}

const shared = new WeakMap<EventOs, Entry>();

/** The thread's signaller; disposing gives up this use of it. */
export function shareSignaller(events: EventOs): EventSignaller {
  let entry = shared.get(events);
  if (entry === undefined) {
    entry = { signaller: events.createSignaller(), userCount: 0 };
    shared.set(events, entry);
  }
  const used = entry;
  used.userCount += 1;
  let isOpen = true;
  return {
    signal: (fd) => used.signaller.signal(fd),
    [Symbol.dispose]: () => {
      if (!isOpen) return;
      isOpen = false;
      used.userCount -= 1;
      if (used.userCount > 0) return;
      shared.delete(events);
      used.signaller[Symbol.dispose]();
    },
  };
}
