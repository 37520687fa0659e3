// A client that was handed the descriptor of a lease, at 4, and attacks with it. It reports what it
// saw and stays until it is killed.
import { assert } from '../../src/base/errors.js';
import { Lease } from '../../src/client/lease.js';
import { openWindows } from '../../src/client/lease-device.js';
import { Queue } from '../../src/client/mqdma/index.js';
import { openLease } from '../../src/client/open-lease.js';
import { queuePage } from '../../src/device/mqdma/datasheet.js';
import { systemClock } from '../../src/os/clock.js';
import { Fd } from '../../src/os/fd.js';
import { createOs, loadNative } from '../../src/os/index.js';
import { VFIO_USER_DEVICE_GET_INFO } from '../../src/uapi/vfio-user.js';
import type { LeaseRecord } from '../../src/varlink/interface.js';
import { connectVfioUser, type VfioUserClient } from '../../src/vfio-user/client.js';
import { infoPayload, RawPeer, rawFrame } from '../../src/vfio-user/testing/raw-peer.js';
import type { Attack, AttackReport } from './attacker.js';
import { fillTagged } from './tagged-fill.js';

const { kind, record, victimIova, victimPasid, durationMs } = JSON.parse(
  process.env.LESSOR_TEST_ATTACK ?? '{}',
) as Attack & { record: LeaseRecord };
const os = createOs();
const leaseFd = new Fd(loadNative(), 4);
/** Region and offset of the queue's page in the lease's device. */
const queueRegion = 2;
const frames = rawFrame(VFIO_USER_DEVICE_GET_INFO, infoPayload());

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function device(): Promise<VfioUserClient> {
  return connectVfioUser(os.sockets.stream(leaseFd), { clock: systemClock });
}

async function floodKicks(): Promise<string> {
  const lease = await openLease(os, record, leaseFd, undefined, true);
  const window = lease.mappedWindow('queue');
  const endMs = performance.now() + durationMs;
  let kicks = 0;
  while (performance.now() < endMs && !lease.closed) {
    for (let burst = 0; burst < 64; burst += 1) window.postMessage32(queuePage.KICK, 1);
    kicks += 64;
    await turn();
  }
  return `${kicks} kicks`;
}

async function floodFrames(): Promise<string> {
  const peer = new RawPeer(os.sockets.stream(leaseFd));
  await peer.negotiate();
  const endMs = performance.now() + durationMs;
  let sent = 0;
  while (performance.now() < endMs && !peer.ended) {
    for (let burst = 0; burst < 64; burst += 1) peer.socket.send(frames);
    sent += 64;
    peer.received.length = 0;
    await turn();
  }
  return `${sent} frames`;
}

/** Asks on and on, and takes no answer, until the broker has had enough. */
async function neverRead(): Promise<string> {
  const socket = os.sockets.stream(leaseFd);
  const peer = new RawPeer(socket);
  await peer.negotiate();
  socket.pause();
  const batch = Buffer.concat(Array.from({ length: 256 }, () => frames));
  const endMs = performance.now() + durationMs;
  while (performance.now() < endMs && socket.isOpen) {
    if (socket.queuedBytes < 65_536) socket.send(batch);
    await turn();
  }
  return 'sent';
}

async function truncate(): Promise<string> {
  const client = await device();
  const { fd } = await client.regionInfo(queueRegion);
  assert(fd !== undefined, 'a window to truncate');
  os.memory.truncate(fd, 0);
  // It is noticed where the device looks, at the latest when the windows are connected.
  const command = Uint8Array.of(6, 0);
  const answer = await client.regionWrite(7, 4, command).then(
    () => 'enabled',
    (error: { errno?: string }) => error.errno ?? String(error),
  );
  return `truncated: ${answer}`;
}

async function foreignIova(): Promise<string> {
  const lease = await openLease(os, record, leaseFd, undefined, true);
  const queue = await Queue.create(lease, { entries: 16 });
  const data = await lease.memory.allocate(4096);
  const seen: string[] = [];
  for (const [source, destination] of [
    [victimIova, data.iova],
    [data.iova, victimIova],
  ] as const) {
    seen.push(
      await queue.copy({ source, destination, lengthBytes: 64 }).then(
        () => 'copied',
        (error: { code?: string }) => error.code ?? String(error),
      ),
    );
    await queue.reset();
    // The device keeps the last fault of a queue: the driver sees both if it can look in between.
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  seen.push(data.u8.every((byte) => byte === 0) ? 'nothing read' : 'read');
  return seen.join(', ');
}

/** Descriptors that name a PASID: its own, the victim's, and one that nobody has. */
async function foreignPasid(): Promise<string> {
  const lease = await openLease(os, record, leaseFd, undefined, true);
  const seen = [await fillTagged(lease, record.pasid ?? 0)];
  for (const [tag, destination] of [
    [victimPasid, undefined],
    [victimPasid, victimIova],
    [0xf_ffff, undefined],
    [0, undefined],
  ] as const) {
    seen.push(await fillTagged(lease, tag, destination));
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return seen.join(', ');
}

/**
 * Writes the victim's PASID wherever it can reach anything: everywhere in its mapped window, and by
 * message in every region. Backwards, so that a queue is not enabled before it is programmed.
 */
async function programPasid(): Promise<string> {
  const client = await device();
  const windows = await openWindows(os.memory, client);
  const lease = new Lease({ os, record, device: client, windows, events: undefined });
  const { regionCount } = await client.deviceInfo();
  let refused = 0;
  for (const value of [0, victimPasid]) {
    // What was written to COMMAND may have switched the access off.
    await lease.enable();
    const bytes = new Uint8Array(Uint32Array.of(value).buffer);
    for (let region = 0; region < regionCount; region += 1) {
      const { lengthBytes } = await client.regionInfo(region);
      for (let at = Number(lengthBytes); at >= 0; at -= 4) {
        await client.regionWrite(region, at, bytes).catch(() => {
          refused += 1;
        });
      }
    }
    const window = lease.window('queue');
    if (window.kind === 'mapped') window.u32.fill(value);
  }
  const late = new Promise<string>((resolve) => {
    setTimeout(() => resolve('no answer'), 2000);
  });
  const use = async (): Promise<string> => {
    await lease.reset();
    const own = await fillTagged(lease, record.pasid ?? 0);
    return `${own}, ${await fillTagged(lease, victimPasid)}, ${await fillTagged(lease, 0)}`;
  };
  const used = await Promise.race([use().catch((error: unknown) => String(error)), late]);
  return `${refused > 0 ? 'some refused' : 'none refused'}; ${used}`;
}

const attacks = {
  floodKicks,
  floodFrames,
  neverRead,
  truncate,
  foreignIova,
  foreignPasid,
  programPasid,
};
const seen = await attacks[kind]().catch((error: unknown) => String(error));
process.send?.({ seen, uid: process.getuid?.() ?? -1 } satisfies AttackReport);
process.on('disconnect', () => process.exit(0));
