// A client that maps every window it receives over the socket at descriptor 3, stores to each page
// of it, answers with one byte, and keeps the CPU busy reading the newest one.
import type { Fd } from '../../src/os/fd.js';
import { createOs, loadNative, type Mapping, Fd as OsFd } from '../../src/os/index.js';

const pageWords = 1024;
const spinMs = 0.05;

const os = createOs();
const socket = os.sockets.stream(new OsFd(loadNative(), 3));
let mapping: Mapping | undefined;
let u32 = new Uint32Array(1);
let sink = 0;

function hold(fd: Fd): void {
  mapping?.[Symbol.dispose]();
  const { lengthBytes } = os.memory.identity(fd);
  mapping = os.memory.map(fd, { offsetBytes: 0, lengthBytes, writable: true, guard: 'ones' });
  fd.close();
  u32 = new Uint32Array(mapping.buffer);
  for (let index = 0; index < u32.length; index += pageWords) u32[index] = 1;
}

function spin(): void {
  const untilMs = performance.now() + spinMs;
  while (performance.now() < untilMs) sink += u32[0]!;
  setImmediate(spin);
}

socket.start(
  {
    wantBytes: () => 1,
    data(_bytes, fds) {
      for (const fd of fds) hold(fd);
      socket.send(Uint8Array.of(1));
    },
    end: () => process.exit(sink === -1 ? 1 : 0),
  },
  { fdsMax: 1 },
);
spin();
