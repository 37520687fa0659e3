// Holds the two columns of docs/vfio-user.md that are about us. Our client drives our server; a
// tap between them sees which commands get through, and what each side says of itself.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOs } from '../src/os/index.js';
import {
  header,
  VFIO_USER_F_ERROR,
  VFIO_USER_F_TYPE_COMMAND,
  VFIO_USER_MIG_DATA_WRITE,
  VFIO_USER_VERSION,
  versionHeader,
} from '../src/uapi/vfio-user.js';
import { frame } from '../src/vfio-user/framing.js';
import {
  connectVfioUserPath,
  DmaTable,
  serveVfioUser,
  type VfioUserClient,
} from '../src/vfio-user/index.js';
import { FullEndpoint } from '../src/vfio-user/testing/full-endpoint.js';
import { kernelWorld, until, type World } from '../src/vfio-user/testing/world.js';
import { type Seen, Tap } from './interop/tap.js';
import { rootPath } from './tools/root.js';

const page = readFileSync(rootPath('docs/vfio-user.md'), 'utf8');
const os = createOs();
const folder = mkdtempSync(join(tmpdir(), 'lessor-page-'));
const serverPath = join(folder, 'server');
const tapPath = join(folder, 'tap');

/** Rows of the table below a heading, as their cells. */
function tableOf(heading: string): string[][] {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? '';
  const rows = section.split('\n').filter((line) => line.startsWith('| `'));
  return rows.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const isError = ({ flags }: Seen): boolean => (flags & VFIO_USER_F_ERROR) !== 0;
const messageId = ({ bytes }: Seen): number => header.decodeAt(bytes, 0).messageId;

/** Whether a command was sent by one side and answered without an error by the other. */
function gotThrough(seen: readonly Seen[], command: number): Seen['from'] | undefined {
  for (const ask of seen) {
    if (ask.command !== command || ask.isReply) continue;
    const answer = seen.find(
      (reply) =>
        reply.isReply &&
        reply.command === command &&
        reply.from !== ask.from &&
        messageId(reply) === messageId(ask),
    );
    if (answer !== undefined && !isError(answer)) return ask.from;
  }
  return undefined;
}

/** The capabilities that one side sent, in one VERSION or another. */
function capabilitiesOf(seen: readonly Seen[], from: Seen['from']): string[] {
  const said = seen
    .filter((message) => message.command === VFIO_USER_VERSION && message.from === from)
    .map(({ bytes }) => bytes.subarray(header.sizeBytes + versionHeader.sizeBytes, -1))
    .filter((json) => json.length > 0)
    .map((json) => JSON.parse(new TextDecoder().decode(json)) as { capabilities: object });
  return [...new Set(said.flatMap(({ capabilities }) => Object.keys(capabilities)))];
}

async function describeDevice(client: VfioUserClient): Promise<void> {
  await client.deviceInfo();
  (await client.regionInfo(0)).fd?.close();
  await client.irqInfo(2);
  for (const fd of new Set((await client.regionIoFds(0)).map((entry) => entry.fd))) fd?.close();
}

async function useDevice(client: VfioUserClient, endpoint: FullEndpoint): Promise<void> {
  const dma = new DmaTable();
  await client.setIrqs({ action: 'disable', index: 2 });
  await client.write32(0, 0, 1);
  await client.read32(0, 0);
  await client.regionWriteMulti([{ region: 0, offsetBytes: 0, data: Uint8Array.of(1) }]);
  await dma.map(client, { iova: 0x1000n, bytes: new Uint8Array(0x1000) });
  await client.dmaUnmap('all');
  await client.reset();
  expect(endpoint.calls.length).toBeGreaterThan(0);
}

async function moveDevice(client: VfioUserClient): Promise<void> {
  await client.migration.setState('stop-copy');
  const state = await client.migration.readAll(1000);
  await client.migration.setState('resuming');
  await client.migration.write(state);
  await client.migration.setState('running');
}

describe('docs/vfio-user.md', () => {
  const commands = tableOf('Commands');
  const capabilities = tableOf('Capabilities in VERSION');
  let world: World;
  let tap: Tap;
  let listener: Disposable;

  async function connect(dma: DmaTable, twin: boolean): Promise<VfioUserClient> {
    const { sockets } = world;
    return connectVfioUserPath(tapPath, {
      sockets: os.sockets,
      clock: os.clock,
      dma,
      ...(twin ? { twinSocket: sockets } : {}),
    });
  }

  beforeAll(async () => {
    world = kernelWorld();
    const endpoints: FullEndpoint[] = [];
    listener = os.sockets.listen(serverPath, 0o600, (socket) => {
      const endpoint = new FullEndpoint(world);
      endpoints.push(endpoint);
      serveVfioUser(socket, endpoint, { clock: os.clock, twinSocket: world.sockets });
    });
    tap = new Tap(os, tapPath, serverPath);
    // First with a twin socket, for what VERSION says; then without, so that all passes the tap.
    (await connect(new DmaTable(), true)).close();
    const dma = new DmaTable();
    const client = await connect(dma, false);
    const endpoint = endpoints[1] as FullEndpoint;
    await describeDevice(client);
    await useDevice(client, endpoint);
    const bytes = new Uint8Array(0x1000);
    await dma.map(client, { iova: 0x1000n, bytes });
    await endpoint.client?.dmaWrite(0x1000n, Uint8Array.of(1));
    await endpoint.client?.dmaRead(0x1000n, 1);
    await moveDevice(client);
    client.close();
  });

  afterAll(() => {
    listener[Symbol.dispose]();
    tap[Symbol.dispose]();
    rmSync(folder, { recursive: true });
  });

  it('has a row for every command number', () => {
    const numbers = commands.map(([, number]) => Number(number));
    expect(numbers).toEqual(Array.from({ length: VFIO_USER_MIG_DATA_WRITE }, (_, i) => i + 1));
  });

  it.each(commands)('%s (%s): server %s, client %s', (name, number, server, client) => {
    const asker = gotThrough(tap.seen, Number(number));
    const expected = asker === undefined ? 'no' : 'yes';
    expect([server, client]).toEqual([expected, expected]);
    const isOfServer = name === '`DMA_READ`' || name === '`DMA_WRITE`';
    if (asker !== undefined) expect(asker).toBe(isOfServer ? 'server' : 'client');
  });

  it('refuses a command that has "no" in its row', async () => {
    const none = commands.filter((row) => row[2] === 'no').map((row) => Number(row[1]));
    const socket = os.sockets.connect(tapPath);
    const since = tap.seen.length;
    socket.start({ wantBytes: () => 4096, data: () => {}, end: () => {} }, { fdsMax: 0 });
    const version = frame(0, VFIO_USER_VERSION, VFIO_USER_F_TYPE_COMMAND, versionHeader.sizeBytes);
    socket.send(version);
    for (const command of none) socket.send(frame(1, command, VFIO_USER_F_TYPE_COMMAND, 0));
    const replies = () => tap.seen.slice(since).filter(({ from }) => from === 'server');
    await until(() => replies().length === 1 + none.length, 'an answer to each');
    expect(replies().map(isError)).toEqual([false, ...none.map(() => true)]);
    socket[Symbol.dispose]();
  });

  it.each(capabilities)('%s: server %s, client %s', (key, server, client) => {
    const said = (from: Seen['from']) =>
      capabilitiesOf(tap.seen, from).includes((key ?? '').slice(1, -1)) ? 'yes' : 'no';
    expect([server, client]).toEqual([said('server'), said('client')]);
  });

  it('has a row for every capability', () => {
    const rows = capabilities.map(([key]) => (key ?? '').slice(1, -1)).sort();
    expect(rows).toEqual(capabilitiesOf(tap.seen, 'client').sort());
    expect(rows).toEqual(capabilitiesOf(tap.seen, 'server').sort());
  });
});
