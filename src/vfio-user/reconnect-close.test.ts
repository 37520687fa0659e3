// Closing a reconnecting client, at whatever moment.
import { describe, expect, it } from 'vitest';
import type { StreamHandler, StreamSocket } from '../os/socket-types.js';
import {
  connect,
  map,
  pass,
  server,
  types,
  useReconnectLab,
  world,
} from './testing/reconnect-lab.js';
import { turns, until } from './testing/world.js';

useReconnectLab();

/** So many steps of the queue of promises later. */
function after(steps: number, then: () => void): void {
  let waiting = Promise.resolve();
  for (let step = 0; step < steps; step += 1) waiting = waiting.then(() => {});
  void waiting.then(then);
}

/** Calls `heard` whenever its reader has been given something. */
function tapped(socket: StreamSocket, heard: () => void): StreamSocket {
  const bound = (target: object, key: string | symbol): unknown => {
    const value: unknown = Reflect.get(target, key, target);
    return typeof value === 'function' ? value.bind(target) : value;
  };
  const tap = (handler: StreamHandler): StreamHandler =>
    new Proxy(handler, {
      get(target, key) {
        const method = bound(target, key) as (...args: unknown[]) => unknown;
        if (key !== 'data' && key !== 'ahead') return method;
        return (...args: unknown[]) => {
          method(...args);
          heard();
        };
      },
    });
  return new Proxy(socket, {
    get(target, key) {
      if (key !== 'start') return bound(target, key);
      const start: StreamSocket['start'] = (handler, options) =>
        target.start(tap(handler), options);
      return start;
    },
  });
}

describe('close', () => {
  it('rejects what waits and what comes, and says nothing', async () => {
    const one = await connect({ waitMs: 1000 });
    await one.dmaMap(map(0x1000n, world.open('memory')));
    server.kill();
    await until(() => one.state === 'lost', 'the loss');
    const waiting = expect(one.run((device) => device.isOpen)).rejects;
    one.close();
    await waiting.toMatchObject({ errno: 'ECANCELED' });
    await expect(one.run((device) => device.isOpen)).rejects.toMatchObject({ errno: 'ECANCELED' });
    expect(types()).toEqual(['lost']);
  });

  it('ends an attempt that is under way', async () => {
    const one = await connect();
    await one.dmaMap(map(0x1000n, world.open('memory')));
    let reached = false;
    server.prepare = (endpoint) => {
      endpoint.before = () => {
        reached = true;
        return new Promise(() => {});
      };
    };
    server.kill();
    for (let round = 0; round < 40 && !reached; round += 1) await pass(25);
    one.close();
    await turns();
    expect(server.connections.at(-1)?.isOpen).toBe(false);
    expect(types()).toEqual(['lost']);
  });

  it('ends an attempt at whatever moment of its negotiation it comes', async () => {
    for (let moment = 0; moment < 24; moment += 1) {
      let isSecond = false;
      server.prepare = () => {};
      const one = await connect({
        dial: () => {
          const socket = server.dial();
          return isSecond ? tapped(socket, () => after(moment, () => one.close())) : socket;
        },
      });
      isSecond = true;
      server.prepare = (endpoint) => {
        endpoint.before = () => new Promise(() => {});
      };
      server.kill();
      for (let round = 0; round < 40 && one.state !== 'ended'; round += 1) await pass(25);
      await turns();
      expect([moment, server.last.closedCount]).toEqual([moment, 1]);
    }
  });

  it('reaches the server', async () => {
    const one = await connect();
    one[Symbol.dispose]();
    await until(() => server.last.closedCount === 1, 'the server is told');
    expect(one.state).toBe('ended');
  });

  it('lets go of an interrupt that the server has just taken', async () => {
    const one = await connect();
    // Both replies come in one turn.
    const read = one.run((device) => device.read32(0, 0)).then(() => one.close());
    const fds = [world.open('irq')];
    await Promise.all([read, one.setIrqs({ action: 'bind', index: 2, start: 0, fds })]);
    await until(() => !world.left().includes('irq'), 'closed');
  });

  it('may come from a listener', async () => {
    const one = await connect();
    one.onEvent(() => one.close());
    server.kill();
    await pass(1000);
    expect(types()).toEqual(['lost']);
    expect(one.state).toBe('ended');
  });
});
