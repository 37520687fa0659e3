// Descriptors that a server passes to a client which said that it takes none.
import { afterEach, expect, it } from 'vitest';
import { systemClock } from '../os/clock.js';
import type { Fd } from '../os/fd.js';
import { createMemoryOs } from '../os/memory.js';
import { loadNative } from '../os/native.js';
import type { StreamSocket } from '../os/socket-types.js';
import { OsSockets } from '../os/sockets.js';
import { openDescriptors } from '../os/testing/open-descriptors.js';
import {
  header,
  regionInfo,
  VFIO_USER_F_TYPE_REPLY,
  VFIO_USER_VERSION,
} from '../uapi/vfio-user.js';
import { connectVfioUser } from './client.js';
import { frame, headerBytes } from './framing.js';
import { until } from './testing/world.js';
import { encodeVersion, ownCapabilities } from './version.js';

const native = loadNative();
const sockets = new OsSockets(native, systemClock);
const memory = createMemoryOs(native);
const name = 'lessor-test-unasked';
let server: StreamSocket | undefined;

afterEach(() => server?.[Symbol.dispose]());

function copies(): number {
  return [...openDescriptors().values()].filter((link) => link.includes(name)).length;
}

/** Answers VERSION, then GET_REGION_INFO with a descriptor that nobody has to want. */
function serve(): StreamSocket {
  const [near, far] = sockets.pair();
  const socket = sockets.stream(far);
  server = socket;
  const reply = (request: Uint8Array, payload: Uint8Array, fds: readonly Fd[]): void => {
    const { command, messageId } = header.decodeAt(request, 0);
    const bytes = frame(messageId, command, VFIO_USER_F_TYPE_REPLY, payload.length);
    bytes.set(payload, headerBytes);
    socket.send(bytes, fds);
  };
  const info = { argsz: 32, flags: 7, index: 0, capOffset: 0, size: 4096, offset: 0 };
  const handler = {
    wantBytes: () => 4096,
    data(request: Uint8Array) {
      const { command } = header.decodeAt(request, 0);
      if (command === VFIO_USER_VERSION) reply(request, encodeVersion(1, ownCapabilities), []);
      else reply(request, regionInfo.encode(info), [memory.create(name, 4096)]);
    },
    end() {},
  };
  socket.start(handler, { fdsMax: 0 });
  return sockets.stream(near);
}

it('end the connection, and none is left', async () => {
  const capabilities = { maxMsgFds: 0 };
  const client = await connectVfioUser(serve(), { clock: systemClock, capabilities });
  await expect(client.regionInfo(0)).rejects.toBeDefined();
  expect(client.isOpen).toBe(false);
  await until(() => copies() === 0, 'the descriptor is closed');
});

it('would be taken by one that takes some', async () => {
  const client = await connectVfioUser(serve(), { clock: systemClock });
  const { fd } = await client.regionInfo(0);
  expect(fd?.isOpen).toBe(true);
  fd?.close();
  client.close();
  await until(() => copies() === 0, 'the descriptor is closed');
});
