import { describe, expect, it } from 'vitest';
import { connectVfioUser } from './client.js';
import { serveVfioUser } from './server.js';
import { TestEndpoint } from './testing/endpoint.js';
import { FdTable } from './testing/fd-table.js';
import { ManualClock } from './testing/manual-clock.js';
import { pipePair } from './testing/pipe.js';

async function connected() {
  const table = new FdTable();
  const [near, far] = pipePair(table);
  const clock = new ManualClock();
  const endpoint = new TestEndpoint(table);
  const connection = serveVfioUser(far, endpoint, { clock });
  const client = await connectVfioUser(near, { clock });
  return { table, near, far, clock, endpoint, connection, client };
}

describe('client and server', () => {
  it('negotiate, describe, access, map, bind, reset', async () => {
    const { client, endpoint, table, connection } = await connected();
    expect(client.peer.maxMsgFds).toBe(16);
    expect(connection.peer?.maxMsgFds).toBe(16);
    expect(await client.deviceInfo()).toMatchObject({ regionCount: 9, irqCount: 5 });
    const region = await client.regionInfo(0);
    expect(region).toMatchObject({ lengthBytes: 0x8000, fdOffsetBytes: 0x10000, writable: true });
    expect(region.areas).toEqual(endpoint.regions[0]?.areas);
    expect(region.fd && table.nameOf(region.fd)).toBe('region0');
    region.fd?.close();
    expect(await client.irqInfo(2)).toEqual({ count: 24, flags: 1 });
    await client.write32(0, 0x10, 0xdeadbeef);
    expect(await client.read32(0, 0x10)).toBe(0xdeadbeef);
    expect(await client.read64(0, 0x10)).toBe(0xdeadbeefn);
    const map = { iova: 0x1000n, lengthBytes: 0x1000n, offsetBytes: 0n };
    await client.dmaMap({ ...map, readable: true, writable: false, fd: table.open('memory') });
    await client.dmaUnmap({ iova: 0x1000n, lengthBytes: 0x1000n });
    const fds = Array.from({ length: 20 }, (_, i) => table.open(`event${i}`));
    await client.setIrqs({ action: 'bind', index: 2, start: 1, fds });
    await client.reset();
    expect(endpoint.calls.filter((call) => call.startsWith('bind'))).toHaveLength(2);
    expect(endpoint.calls.at(-1)).toBe('reset');
    client.close();
    await new Promise(setImmediate);
    expect(endpoint.closedCount).toBe(1);
    expect(table.left).toEqual([]);
  });
});
