// A client as a process of its own: maps the window at descriptor 4 (and a status window at 5),
// then does what it is told over IPC.
import { Fd } from '../../os/fd.js';
import { createMemoryOs } from '../../os/memory.js';
import { loadNative } from '../../os/native.js';
import { counterStatusWord, counterWord } from './counter-device.js';

export type ClientCommand =
  | { readonly type: 'map'; readonly lengthBytes: number; readonly hasStatus: boolean }
  | { readonly type: 'truncate' }
  /** Stores ever larger targets for a while. */
  | { readonly type: 'store'; readonly durationMs: number }
  /** Raises the target by one and waits until the device counted, for a while. */
  | { readonly type: 'count'; readonly durationMs: number };

export interface ClientReply {
  /** Stores made or counts seen. */
  readonly count: number;
  /** Monotonic nanoseconds of the first and last, as decimal strings. */
  readonly firstNs: string;
  readonly lastNs: string;
  /** Longest time from one to the next. */
  readonly gapMsMax: number;
  /** The guard replaced the window. */
  readonly revoked: boolean;
}

const memory = createMemoryOs(loadNative());
const native = loadNative();
let window: ReturnType<typeof memory.map> | undefined;
let words = new Uint32Array(0);
let status = new Uint32Array(0);
let fd: Fd | undefined;

function map(lengthBytes: number, hasStatus: boolean): void {
  fd = new Fd(native, 4);
  const spec = { offsetBytes: 0, lengthBytes, guard: 'ones' } as const;
  window = memory.map(fd, { ...spec, writable: true });
  words = new Uint32Array(window.buffer);
  if (!hasStatus) return;
  status = new Uint32Array(memory.map(new Fd(native, 5), { ...spec, writable: false }).buffer);
}

function work(durationMs: number, once: (next: number, endMs: number) => boolean): ClientReply {
  const firstNs = process.hrtime.bigint();
  let lastMs = performance.now();
  const endMs = lastMs + durationMs;
  let count = 0;
  let gapMsMax = 0;
  while (lastMs < endMs && once(count + 1, endMs)) {
    count += 1;
    const nowMs = performance.now();
    gapMsMax = Math.max(gapMsMax, nowMs - lastMs);
    lastMs = nowMs;
  }
  return reply({
    count,
    gapMsMax,
    firstNs: String(firstNs),
    lastNs: String(process.hrtime.bigint()),
  });
}

function reply(found: Partial<ClientReply> = {}): ClientReply {
  const revoked = window?.revoked ?? false;
  return { count: 0, firstNs: '0', lastNs: '0', gapMsMax: 0, revoked, ...found };
}

function obey(command: ClientCommand): ClientReply {
  if (command.type === 'map') map(command.lengthBytes, command.hasStatus);
  else if (command.type === 'truncate') memory.truncate(fd!, 0);
  else if (command.type === 'store') {
    return work(command.durationMs, (next) => {
      Atomics.store(words, counterWord.TARGET, next);
      return true;
    });
  } else {
    return work(command.durationMs, (next, endMs) => {
      Atomics.store(words, counterWord.TARGET, next);
      while (Atomics.load(status, counterStatusWord.COUNT) !== next) {
        if (performance.now() > endMs) return false;
      }
      return true;
    });
  }
  return reply();
}

process.on('message', (command: ClientCommand) => process.send!(obey(command)));
process.on('disconnect', () => process.exit(0));
