// The reconnecting client against servers that die, over sockets in memory and a clock in the
// test's hand.
import { describe, expect, it } from 'vitest';
import { LessorError, OsError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import { connectReconnecting } from './reconnect.js';
import { pauseBefore } from './reconnect-backoff.js';
import {
  client,
  clock,
  connect,
  events,
  map,
  pass,
  server,
  types,
  useReconnectLab,
  world,
} from './testing/reconnect-lab.js';
import { turns, until } from './testing/world.js';

useReconnectLab();

/** Until the client is connected again. */
async function restored(): Promise<void> {
  for (let round = 0; round < 400 && client?.state === 'lost'; round += 1) await pass(25);
  expect(client?.state).toBe('connected');
}

const gone = { code: 'SERVER_GONE', errno: 'ENOTCONN' };

describe('a server that died', () => {
  it('is told again what it has to know, and nothing else', async () => {
    const one = await connect();
    await one.dmaMap(map(0x1000n, world.open('one')));
    await one.dmaMap(map(0x2000n, world.open('two')));
    await one.dmaMap(map(0x3000n, undefined));
    await one.dmaUnmap({ iova: 0x2000n, lengthBytes: 4096n });
    const fds = [world.open('irq0'), world.open('irq1'), world.open('irq2')];
    await one.setIrqs({ action: 'bind', index: 2, start: 0, fds });
    await one.setIrqs({ action: 'bind', index: 2, start: 1, fds: [world.open('other')] });
    await one.setIrqs({ action: 'unbind', index: 2, start: 2, count: 1 });
    await one.setIrqs({ action: 'mask', index: 2, vectors: [0, 1] });
    await one.setIrqs({ action: 'unmask', index: 2, vectors: [1] });
    await one.setIrqs({ action: 'bind', index: 3, start: 0, fds: [world.open('error')] });
    await one.setIrqs({ action: 'disable', index: 3 });
    server.kill();
    await until(() => one.state === 'lost', 'the loss');
    await restored();
    const { maps, bound, masked } = server.last;
    expect([...maps]).toEqual([
      [0x1000n, '4096 one'],
      [0x3000n, '4096 none'],
    ]);
    expect([...bound]).toEqual([
      ['2/0', 'irq0'],
      ['2/1', 'other'],
    ]);
    expect([...masked]).toEqual(['2/0']);
    expect(events).toEqual([
      { type: 'lost', error: undefined },
      { type: 'restored', outageMs: expect.any(Number), attempts: 1 },
    ]);
  });

  it('fails what was under way with SERVER_GONE', async () => {
    const one = await connect();
    server.last.before = () => new Promise(() => {});
    const read = one.run((device) => device.read32(0, 0));
    const mapped = one.dmaMap(map(0x1000n, world.open('memory')));
    const bound = one.setIrqs({ action: 'bind', index: 2, start: 0, fds: [world.open('irq')] });
    const failures = Promise.all([
      expect(read).rejects.toMatchObject(gone),
      expect(mapped).rejects.toMatchObject(gone),
      expect(bound).rejects.toMatchObject(gone),
    ]);
    await turns();
    server.kill();
    await failures;
    await restored();
    expect(server.last.maps.size + server.last.bound.size).toBe(0);
  });

  it('has given up what is unmapped and unbound meanwhile', async () => {
    const one = await connect();
    await one.dmaMap(map(0x1000n, world.open('memory')));
    await one.setIrqs({ action: 'bind', index: 2, start: 0, fds: [world.open('irq')] });
    server.last.before = () => new Promise(() => {});
    const under = one.dmaUnmap({ iova: 0x1000n, lengthBytes: 4096n });
    await turns();
    server.kill();
    await under;
    await one.setIrqs({ action: 'disable', index: 2 });
    expect(one.state).toBe('lost');
    await restored();
    expect(server.last.maps.size + server.last.bound.size).toBe(0);
  });

  it('is taken back what changed while it was told', async () => {
    const one = await connect();
    for (let page = 1n; page <= 4n; page += 1n) {
      await one.dmaMap(map(page * 0x1000n, world.open(`page${page}`)));
    }
    const fds = [world.open('irq0'), world.open('irq1')];
    await one.setIrqs({ action: 'bind', index: 2, start: 0, fds });
    let undone: Promise<unknown> | undefined;
    server.prepare = (endpoint) => {
      endpoint.before = (call) => {
        if (!call.includes('irq1') || undone !== undefined) return;
        undone = Promise.all([
          one.dmaUnmap({ iova: 0n, lengthBytes: 0x3000n }),
          one.setIrqs({ action: 'unbind', index: 2, start: 0, count: 1 }),
        ]);
      };
    };
    server.kill();
    await until(() => one.state === 'lost', 'the loss');
    await restored();
    await undone;
    expect([...server.last.maps.keys()]).toEqual([0x3000n, 0x4000n]);
    expect([...server.last.bound.keys()]).toEqual(['2/1']);
    expect(server.last.calls.filter((call) => call.startsWith('unmap'))).toHaveLength(2);
  });

  it('is not told of maps that end with their connection', async () => {
    const one = await connect({ replayMaps: false });
    await one.dmaMap(map(0x1000n, world.open('memory')));
    expect(world.left().filter((name) => name === 'memory')).toHaveLength(1);
    await one.setIrqs({ action: 'bind', index: 2, start: 3, fds: [world.open('irq')] });
    server.kill();
    await until(() => one.state === 'lost', 'the loss');
    await restored();
    expect(server.last.maps.size).toBe(0);
    expect([...server.last.bound.keys()]).toEqual(['2/3']);
  });

  it('gets back what only the caller knows before it counts as restored', async () => {
    const steps: string[] = [];
    const one = await connect({
      restore: async (device) => {
        steps.push('restore');
        await device.write32(7, 4, 6);
      },
    });
    one.onEvent(({ type }) => steps.push(type));
    expect(steps).toEqual([]);
    server.kill();
    await until(() => one.state === 'lost', 'the loss');
    await restored();
    expect(steps).toEqual(['lost', 'restore', 'restored']);
    expect(server.last.memory[7]?.[4]).toBe(6);
  });
});

describe('a server that does not answer', () => {
  it('is given up when a deadline passes', async () => {
    const one = await connect({ deadlineMs: 1000 });
    server.last.before = () => new Promise(() => {});
    const first = expect(one.run((device) => device.read32(0, 0))).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
    });
    clock.advance(500);
    const second = expect(one.run((device) => device.read32(0, 4))).rejects.toMatchObject(gone);
    await turns();
    expect(one.state).toBe('connected');
    clock.advance(500);
    await first;
    await second;
    expect(types()).toEqual(['lost']);
    await restored();
    expect(await one.run((device) => device.read32(0, 0))).toBe(0);
  });

  it('does not hold an attempt for longer than its time', async () => {
    const one = await connect({ attemptMs: 700, deadlineMs: 500, backoff: { maxMs: 50 } });
    const { dials } = server;
    server.prepare = (endpoint) => {
      // Each answer comes within its deadline, all of them take too long.
      endpoint.before = () =>
        new Promise((resolve) => {
          clock.after(400, resolve);
        });
    };
    await one.dmaMap(map(0x1000n, undefined));
    await one.dmaMap(map(0x2000n, undefined));
    server.kill();
    await until(() => one.state === 'lost', 'the loss');
    await pass(3100);
    expect(one.state).toBe('lost');
    expect(server.dials - dials).toBeGreaterThanOrEqual(3);
    expect(server.dials - dials).toBeLessThanOrEqual(6);
    server.prepare = () => {};
    await restored();
    await pass(400);
  });

  it('fails the first connect by the deadline', async () => {
    server.isDeaf = true;
    const connecting = connectReconnecting({ clock, dial: server.dial, attemptMs: 300 });
    const failed = expect(connecting).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await turns();
    clock.advance(300);
    await failed;
  });
});

it('is no client when the server closes behind its last answer', async () => {
  server.deaths.push({ replies: 17, sent: true });
  await expect(connect()).rejects.toMatchObject({ errno: 'EPIPE' });
});

describe('another device', () => {
  it.each([
    ['another id', 'ids', (endpoint: typeof server.last) => endpoint.memory[7]?.set([1], 0)],
    [
      'a longer region',
      'region 2',
      (endpoint: typeof server.last) => {
        endpoint.regions = endpoint.regions.map((region, index) =>
          index === 2 ? { ...region, lengthBytes: region.lengthBytes * 2 } : region,
        );
      },
    ],
    [
      'more vectors',
      'interrupts of index 2',
      (endpoint: typeof server.last) => {
        endpoint.irqs = endpoint.irqs.map((irq, index) =>
          index === 2 ? { ...irq, count: 25 } : irq,
        );
      },
    ],
    [
      'an index less',
      'interrupts of index 4',
      (endpoint: typeof server.last) => {
        endpoint.irqs = endpoint.irqs.slice(0, 4);
      },
    ],
    [
      'no reset',
      'device flags',
      (endpoint: typeof server.last) => {
        Object.assign(endpoint, { reset: undefined });
      },
    ],
  ])('with %s ends the client', async (_what, detail, change) => {
    const one = await connect();
    await one.dmaMap(map(0x1000n, world.open('memory')));
    server.prepare = change;
    server.kill();
    await pass(200);
    expect(types()).toEqual(['lost', 'ended']);
    const changed = { code: 'DEVICE_CHANGED', message: expect.stringContaining(detail) };
    expect(events[1]).toMatchObject({ error: changed });
    expect(one.state).toBe('ended');
    await expect(one.run((device) => device.read32(0, 0))).rejects.toMatchObject(changed);
    await expect(one.dmaMap(map(0n, world.open('late')))).rejects.toMatchObject(changed);
    await one.dmaUnmap('all');
    expect(server.last.maps.size).toBe(0);
    await until(() => server.last.closedCount === 1, 'the other device is let go');
  });
});

describe('the outage', () => {
  it('ends with SERVER_GONE at its limit', async () => {
    const one = await connect({ outageMs: 3000 });
    server.refuse = new OsError('ECONNREFUSED', 'connect');
    server.kill();
    await pass(2900);
    expect(one.state).toBe('lost');
    await pass(200);
    expect(types()).toEqual(['lost', 'ended']);
    await expect(one.run((device) => device.read32(0, 0))).rejects.toMatchObject(gone);
    const { dials } = server;
    await pass(20_000, 500);
    expect(server.dials).toBe(dials);
  });

  it.each([
    [
      'refuses',
      () => {
        server.refuse = new OsError('ECONNREFUSED', 'connect');
      },
    ],
    [
      'takes connections and closes them at once',
      () => {
        server.deaths.push(...Array.from({ length: 1000 }, () => ({ replies: 1, sent: false })));
      },
    ],
    [
      'negotiates, answers and closes',
      () => {
        server.deaths.push(...Array.from({ length: 1000 }, () => ({ replies: 17, sent: true })));
      },
    ],
  ])('makes no haste with a server that %s', async (_how, become) => {
    const one = await connect({ outageMs: 1e9, backoff: { firstMs: 50, maxMs: 5000 } });
    const { dials } = server;
    become();
    server.kill();
    await pass(60_000, 50);
    // 50, 100, 200, ... 3200, then 5000 each.
    expect(server.dials - dials).toBeGreaterThanOrEqual(12);
    expect(server.dials - dials).toBeLessThanOrEqual(20);
    expect(['lost', 'connected']).toContain(one.state);
  });

  it('makes no haste with a server that dies whenever it is back', async () => {
    const one = await connect({ backoff: { firstMs: 50, maxMs: 5000 } });
    const { dials } = server;
    one.onEvent(({ type }) => {
      if (type === 'restored') server.kill();
    });
    server.kill();
    await pass(60_000, 50);
    expect(types().filter((type) => type === 'restored').length).toBeGreaterThanOrEqual(10);
    expect(server.dials - dials).toBeLessThanOrEqual(20);
  });

  it('starts from the first pause after a connection that lasted', async () => {
    const one = await connect({ backoff: { firstMs: 50, maxMs: 5000, stableMs: 1000 } });
    for (let round = 0; round < 8; round += 1) {
      server.kill();
      await until(() => one.state === 'lost', 'the loss');
      await restored();
    }
    await pass(1000);
    server.kill();
    await until(() => one.state === 'lost', 'the loss');
    await pass(75);
    expect(one.state).toBe('connected');
  });

  it('has pauses that double up to a maximum, for ever', () => {
    const terms = { firstMs: 50, maxMs: 5000, stableMs: 1 };
    const pauses = [0, 1, 2, 6, 7, 100, 1e9].map((attempts) => pauseBefore(attempts, terms));
    expect(pauses).toEqual([50, 100, 200, 3200, 5000, 5000, 5000]);
  });
});

describe('requests during the outage', () => {
  it('fail at once unless they may wait', async () => {
    const one = await connect();
    server.kill();
    await until(() => one.state === 'lost', 'the loss');
    await expect(one.run((device) => device.read32(0, 0))).rejects.toMatchObject(gone);
    await expect(one.dmaMap(map(0n, world.open('memory')))).rejects.toMatchObject(gone);
    const fds = [world.open('irq'), world.open('irq')];
    await expect(one.setIrqs({ action: 'bind', index: 2, start: 0, fds })).rejects.toMatchObject(
      gone,
    );
  });

  it('wait up to their limit', async () => {
    const one = await connect({ waitMs: 1000 });
    server.refuse = new OsError('ENOENT', 'connect');
    server.kill();
    await until(() => one.state === 'lost', 'the loss');
    const late = expect(one.run((device) => device.read32(0, 0))).rejects.toMatchObject(gone);
    await pass(600);
    const read = one.run((device) => device.read32(0, 0));
    const mapped = one.dmaMap(map(0x5000n, world.open('memory')));
    await pass(400);
    await late;
    server.refuse = undefined;
    await restored();
    expect(await read).toBe(0);
    await mapped;
    expect([...server.last.maps]).toEqual([[0x5000n, '4096 memory']]);
  });

  it('are so many at a time', async () => {
    const one = await connect({ waitMs: 1000 });
    server.kill();
    await until(() => one.state === 'lost', 'the loss');
    const asks = Array.from({ length: limits.vfioUserWaitingMax }, () =>
      one.run((device) => device.isOpen),
    );
    await expect(one.run((device) => device.isOpen)).rejects.toMatchObject({ code: 'QUEUE_FULL' });
    await restored();
    expect(new Set(await Promise.all(asks))).toEqual(new Set([true]));
  });
});

it("passes a server's own errors on", async () => {
  const one = await connect();
  server.last.before = () => {
    throw new LessorError('IOVA_OVERLAP', 'test');
  };
  await expect(one.dmaMap(map(0n, world.open('memory')))).rejects.toMatchObject({
    errno: 'EEXIST',
  });
  await expect(one.dmaUnmap('all')).rejects.toMatchObject({ errno: 'EEXIST' });
  expect(one.state).toBe('connected');
});
