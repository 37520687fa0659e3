// One rule of the protocol per test, by errno: the commands that carry descriptors, and unmap.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as u from '../uapi/vfio-user.js';
import { verdict } from './testing/raw-peer.js';
import { type Rules, startRules } from './testing/rules.js';
import { worlds } from './testing/world.js';

const u64Max = (1n << 64n) - 1n;

describe.each(worlds)('server rules for memory and interrupts %s', (_name, createWorld) => {
  let rules: Rules;

  beforeEach(async () => {
    rules = await startRules(createWorld);
  });

  afterEach(() => rules.finish());

  describe('DMA_MAP', () => {
    const map = (change: Partial<ReturnType<typeof u.dmaMap.decode>> = {}) => {
      const usual = { argsz: 32, flags: 3, offset: 0x3000n, address: 0x10000n, size: 0x2000n };
      return u.dmaMap.encode({ ...usual, ...change });
    };
    const command = u.VFIO_USER_DMA_MAP;

    it('hands the descriptor on', async () => {
      rules.peer.send(command, map(), { fds: rules.files(1) });
      const reply = await rules.peer.next();
      expect([verdict(reply), reply.payload.length]).toEqual(['ok', 0]);
      expect(rules.endpoint.calls).toEqual(['map 65536 8192 12288 rw file0']);
      expect(rules.endpoint.held.map((fd) => fd.isOpen)).toEqual([true]);
    });

    it.each([
      [0, '--'],
      [1, 'r-'],
      [2, '-w'],
    ])('with flags %i grants %s, without descriptor too', async (flags, access) => {
      expect(await rules.peer.ask(command, map({ flags, offset: 0n }))).toBe('ok');
      expect(rules.endpoint.calls).toEqual([`map 65536 8192 0 ${access} none`]);
    });

    it('may end at 2^64, in address and in file', async () => {
      const address = u64Max - 0x1fffn;
      expect(
        await rules.peer.ask(command, map({ address, offset: address }), { fds: rules.files(1) }),
      ).toBe('ok');
    });

    it.each([
      ['argsz 31', map({ argsz: 31 })],
      ['a short payload', map().subarray(0, 31)],
      ['a long payload', new Uint8Array([...map(), 0])],
      ['no size', map({ size: 0n })],
      ['an address that wraps', map({ address: u64Max - 0x1ffen })],
      ['an offset that wraps', map({ offset: u64Max - 0x1ffen })],
      ['an unknown flag', new Uint8Array([...map()].with(4, 7))],
    ])('with %s is EINVAL', async (_what, payload) => {
      await rules.expectReply('EINVAL', command, payload);
      await rules.expectReply('EINVAL', command, payload, rules.files(1));
    });

    it('with two descriptors is EINVAL', async () => {
      await rules.expectReply('EINVAL', command, map(), rules.files(2));
    });

    it('that the endpoint refuses is answered with its errno', async () => {
      rules.endpoint.before = () => {
        rules.endpoint.held.pop()?.close();
        throw Object.assign(new Error('no'), { name: 'OsError', errno: 'EEXIST' });
      };
      expect(await rules.peer.ask(command, map(), { fds: rules.files(1) })).toBe('EEXIST');
    });
  });

  describe('DMA_UNMAP', () => {
    const unmap = (change: Partial<ReturnType<typeof u.dmaUnmap.decode>> = {}) =>
      u.dmaUnmap.encode({ argsz: 24, flags: 0, address: 0x1000n, size: 0x2000n, ...change });
    const command = u.VFIO_USER_DMA_UNMAP;
    const all = { flags: 2, address: 0n, size: 0n };

    it('echoes the request', async () => {
      rules.peer.send(command, unmap());
      expect([...(await rules.peer.next()).payload]).toEqual([...unmap()]);
      expect(rules.endpoint.calls).toEqual(['unmap 4096 8192']);
    });

    it('takes all', async () => {
      rules.peer.send(command, unmap(all));
      expect([...(await rules.peer.next()).payload]).toEqual([...unmap(all)]);
      expect(rules.endpoint.calls).toEqual(['unmap all']);
    });

    it('takes the upper half of all addresses', async () => {
      const half = 1n << 63n;
      expect(await rules.peer.ask(command, unmap({ address: half, size: half }))).toBe('ok');
      expect(rules.endpoint.calls).toEqual([`unmap ${half} ${half}`]);
    });

    it('takes argsz up to 1 MiB', async () => {
      expect(await rules.peer.ask(command, unmap({ argsz: 1_048_576 }))).toBe('ok');
    });

    it.each([
      ['argsz 23', unmap({ argsz: 23 })],
      ['argsz over 1 MiB', unmap({ argsz: 1_048_577 })],
      ['a short payload', unmap().subarray(0, 23)],
      ['a long payload', new Uint8Array([...unmap(), 0])],
      ['all and an address', unmap({ ...all, address: 0x1000n })],
      ['all and a size', unmap({ ...all, size: 0x1000n })],
      ['all and a bitmap', unmap({ ...all, flags: 3 })],
      ['no size', unmap({ size: 0n })],
      ['a range that wraps', unmap({ address: u64Max, size: 2n })],
      ['an unknown flag', new Uint8Array([...unmap()].with(4, 4))],
    ])('with %s is EINVAL', async (_what, payload) => {
      await rules.expectReply('EINVAL', command, payload);
    });

    it('with a dirty bitmap is EOPNOTSUPP', async () => {
      const payload = new Uint8Array([...unmap({ flags: 1, argsz: 40 }), ...new Uint8Array(16)]);
      await rules.expectReply('EOPNOTSUPP', command, payload);
    });
  });

  describe('DEVICE_SET_IRQS', () => {
    const none = 1;
    const bool = 2;
    const eventfd = 4;
    const mask = 8;
    const unmask = 16;
    const trigger = 32;
    const command = u.VFIO_USER_DEVICE_SET_IRQS;
    const set = (flags: number, index: number, start: number, count: number, data = '') =>
      new Uint8Array([
        ...u.irqSet.encode({ argsz: 20 + data.length / 2, flags, index, start, count }),
        ...Buffer.from(data, 'hex'),
      ]);

    it.each([
      ['binds', set(eventfd | trigger, 2, 1, 2), 2, 'bind 2 1 file0,file1'],
      ['binds 16 at once', set(eventfd | trigger, 2, 8, 16), 16, /^bind 2 8 file0,.*,file15$/],
      ['unbinds', set(eventfd | trigger, 2, 0, 24), 0, 'unbind 2 0 24'],
      ['disables', set(none | trigger, 2, 0, 0), 0, 'disable 2'],
      ['triggers', set(none | trigger, 2, 22, 2), 0, 'trigger 2 22,23'],
      ['triggers some', set(bool | trigger, 2, 4, 4, '01000201'), 0, 'trigger 2 4,7'],
      ['masks', set(none | mask, 2, 0, 1), 0, 'mask 2 0'],
      ['unmasks some', set(bool | unmask, 2, 0, 2, '0001'), 0, 'unmask 2 1'],
      ['binds the request interrupt', set(eventfd | trigger, 4, 0, 1), 1, 'bind 4 0 file0'],
    ])('%s', async (_what, payload, fdCount, call) => {
      rules.peer.send(command, payload, { fds: rules.files(fdCount) });
      const reply = await rules.peer.next();
      expect([verdict(reply), reply.payload.length]).toEqual(['ok', 0]);
      expect(rules.endpoint.calls).toEqual([expect.stringMatching(call)]);
    });

    it.each([
      ['a short payload', set(none | trigger, 2, 0, 1).subarray(0, 19), 0],
      ['argsz 19', new Uint8Array([...set(none | trigger, 2, 0, 1)].with(0, 19)), 0],
      ['index 5', set(none | trigger, 5, 0, 1), 0],
      ['no data type', set(trigger, 2, 0, 1), 0],
      ['two data types', set(none | eventfd | trigger, 2, 0, 1), 0],
      ['no action', set(none, 2, 0, 1), 0],
      ['two actions', set(none | mask | trigger, 2, 0, 1), 0],
      ['an unknown flag', set(none | trigger | 64, 2, 0, 1), 0],
      ['a high unknown flag', set(2 ** 31 + (none | trigger), 2, 0, 1), 0],
      ['a start at the count', set(none | trigger, 2, 24, 1), 0],
      ['an end past the count', set(none | trigger, 2, 23, 2), 0],
      ['a sum past 2^32', set(none | trigger, 2, 1, 0xffffffff), 0],
      ['an index without interrupts', set(none | trigger, 0, 0, 0), 0],
      ['a masked request interrupt', set(none | mask, 4, 0, 1), 0],
      ['two error interrupts', set(none | trigger, 3, 0, 2), 0],
      ['no count, but a start', set(none | trigger, 2, 1, 0), 0],
      ['no count, and mask', set(none | mask, 2, 0, 0), 0],
      ['no count, and eventfds', set(eventfd | trigger, 2, 0, 0), 0],
      ['fewer bytes than count', set(bool | trigger, 2, 0, 2, '01'), 0],
      ['more bytes than count', set(bool | trigger, 2, 0, 2, '010101'), 0],
      ['bytes without BOOL', set(none | trigger, 2, 0, 2, '0101'), 0],
      ['descriptors without EVENTFD', set(none | trigger, 2, 0, 1), 1],
      ['a descriptor too few', set(eventfd | trigger, 2, 0, 2), 1],
      ['a descriptor too many', set(eventfd | trigger, 2, 0, 2), 3],
    ])('with %s is EINVAL', async (_what, payload, fdCount) => {
      await rules.expectReply('EINVAL', command, payload, rules.files(fdCount));
    });

    it.each([mask, unmask])('with an eventfd for action %i is EOPNOTSUPP', async (action) => {
      await rules.expectReply(
        'EOPNOTSUPP',
        command,
        set(eventfd | action, 2, 0, 1),
        rules.files(1),
      );
    });
  });
});
