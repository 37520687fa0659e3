// One rule of the protocol per test, by errno. What ends the connection is in server.test.ts.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { closeAll } from '../os/fd.js';
import * as u from '../uapi/vfio-user.js';
import { verdict } from './testing/raw-peer.js';
import { infoPayload, type Rules, startRules } from './testing/rules.js';
import { worlds } from './testing/world.js';

describe.each(worlds)('server rules %s', (_name, createWorld) => {
  let rules: Rules;

  beforeEach(async () => {
    rules = await startRules(createWorld);
  });

  afterEach(() => rules.finish());

  describe('header', () => {
    it.each([
      ['an unknown flag', { flags: 0x40 }],
      ['the error flag', { flags: 0x20 }],
      ['an errno', { errno: 5 }],
    ])('with %s in a command is EINVAL', async (_what, changes) => {
      expect(await rules.peer.ask(u.VFIO_USER_DEVICE_GET_INFO, infoPayload(), changes)).toBe(
        'EINVAL',
      );
      expect(await rules.peer.ask(u.VFIO_USER_DEVICE_GET_INFO, infoPayload())).toBe('ok');
    });

    it('is echoed: id and command', async () => {
      rules.peer.send(u.VFIO_USER_DEVICE_GET_INFO, infoPayload(), { messageId: 0xfffe });
      const { header, payload } = await rules.peer.next();
      const messageSize = 16 + payload.length;
      expect(header).toEqual({ messageId: 0xfffe, command: 4, messageSize, flags: 1, errno: 0 });
    });

    it('alone answers an error', async () => {
      rules.peer.send(99, new Uint8Array(8), { messageId: 3 });
      const { header } = await rules.peer.next();
      expect(header).toEqual({
        messageId: 3,
        command: 99,
        messageSize: 16,
        flags: 0x21,
        errno: 38,
      });
    });
  });

  it.each([0, 11, 12, 14, 15, 16, 17, 18, 19, 0xffff])('command %i is ENOSYS', async (command) => {
    await rules.expectReply('ENOSYS', command, new Uint8Array(24));
  });

  it('an unknown command has its descriptors closed', async () => {
    await rules.expectReply('ENOSYS', 99, new Uint8Array(4), rules.files(2));
  });

  it('a second VERSION is EINVAL', async () => {
    await rules.expectReply('EINVAL', u.VFIO_USER_VERSION, Uint8Array.of(0, 0, 0, 0));
  });

  describe('DEVICE_GET_INFO', () => {
    it('counts regions and interrupt indexes', async () => {
      rules.peer.send(u.VFIO_USER_DEVICE_GET_INFO, infoPayload(64));
      const { payload } = await rules.peer.next();
      const info = { argsz: 16, flags: 3, numRegions: 9, numIrqs: 5 };
      expect(u.deviceInfo.decode(payload)).toEqual(info);
    });

    it('does not claim a reset that is not there', async () => {
      Object.defineProperty(rules.endpoint, 'reset', { value: undefined });
      rules.peer.send(u.VFIO_USER_DEVICE_GET_INFO, infoPayload());
      expect(u.deviceInfo.decode((await rules.peer.next()).payload).flags).toBe(2);
      await rules.expectReply('EOPNOTSUPP', u.VFIO_USER_DEVICE_RESET);
    });

    it.each([
      ['short', new Uint8Array(15).fill(16)],
      ['long', new Uint8Array(17).fill(16)],
      ['empty', new Uint8Array(0)],
      ['with argsz 15', infoPayload(15)],
    ])('%s is EINVAL', async (_what, payload) => {
      await rules.expectReply('EINVAL', u.VFIO_USER_DEVICE_GET_INFO, payload);
    });
  });

  describe('DEVICE_GET_REGION_INFO', () => {
    function ask(index: number, argsz: number): Uint8Array {
      return u.regionInfo.encode({ argsz, flags: 0, index, capOffset: 0, size: 0, offset: 0 });
    }
    const command = u.VFIO_USER_DEVICE_GET_REGION_INFO;

    it('gives areas and one descriptor', async () => {
      rules.peer.send(command, ask(0, 4096));
      const { payload, fds } = await rules.peer.next();
      expect(payload.length).toBe(80);
      expect(u.regionInfo.decodeAt(payload, 0)).toEqual({
        argsz: 80,
        flags: 0xf,
        index: 0,
        capOffset: 32,
        size: 0x8000,
        offset: 0x10000,
      });
      const cap = Buffer.from(payload.subarray(32)).toString('hex');
      const areas = '0000000000000000 0010000000000000 0040000000000000 0020000000000000';
      expect(cap).toBe(`01000100000000000200000000000000${areas.replaceAll(' ', '')}`);
      expect(fds.map((fd) => rules.world.nameOf(fd))).toEqual(['region0']);
      closeAll(fds);
    });

    it.each([80, 81])('fits in argsz %i', async (argsz) => {
      rules.peer.send(command, ask(0, argsz));
      const { payload, fds } = await rules.peer.next();
      expect([payload.length, fds.length]).toEqual([80, 1]);
      closeAll(fds);
    });

    it.each([32, 79])(
      'is cut to the fixed part for argsz %i, without descriptor',
      async (argsz) => {
        rules.peer.send(command, ask(0, argsz));
        const { payload, fds } = await rules.peer.next();
        const cut = { argsz: 80, flags: 7, index: 0, capOffset: 0, size: 0x8000, offset: 0x10000 };
        expect(u.regionInfo.decode(payload)).toEqual(cut);
        expect(fds).toEqual([]);
      },
    );

    it.each([
      [1, 1, 0x1000],
      [2, 3, 0x40_0000],
      [7, 3, 256],
      [3, 0, 0],
      [6, 0, 0],
      [8, 0, 0],
    ])('describes region %i without areas', async (index, flags, size) => {
      rules.peer.send(command, ask(index, 4096));
      const { payload, fds } = await rules.peer.next();
      const info = { argsz: 32, flags, index, capOffset: 0, size, offset: 0 };
      expect(u.regionInfo.decode(payload)).toEqual(info);
      expect(fds).toEqual([]);
    });

    it('is not mappable when no descriptor is on offer', async () => {
      rules.endpoint.regionFd = () => undefined;
      rules.peer.send(command, ask(0, 4096));
      const { payload, fds } = await rules.peer.next();
      expect(u.regionInfo.decode(payload)).toMatchObject({ argsz: 32, flags: 3 });
      expect(fds).toEqual([]);
    });

    it.each([
      ['index 9', ask(9, 32)],
      ['index 2^32-1', ask(0xffffffff, 32)],
      ['argsz 31', ask(0, 31)],
      ['a short payload', ask(0, 32).subarray(0, 31)],
      ['a long payload', new Uint8Array([...ask(0, 32), 0])],
    ])('with %s is EINVAL', async (_what, payload) => {
      await rules.expectReply('EINVAL', command, payload);
    });

    it('with No_reply is not answered, and its descriptor is closed', async () => {
      rules.peer.send(command, ask(0, 4096), { flags: 0x10 });
      expect(await rules.peer.ask(u.VFIO_USER_DEVICE_GET_INFO, infoPayload())).toBe('ok');
      expect(rules.world.left().filter((name) => name === 'region0')).toEqual([]);
    });
  });

  describe('DEVICE_GET_REGION_IO_FDS', () => {
    const command = u.VFIO_USER_DEVICE_GET_REGION_IO_FDS;
    const ask = { argsz: 16, flags: 0, index: 0, count: 0 };

    it('is an empty list', async () => {
      rules.peer.send(command, u.regionIoFds.encode({ ...ask, argsz: 1_048_576 }));
      const { payload, fds } = await rules.peer.next();
      expect(u.regionIoFds.decode(payload)).toEqual(ask);
      expect(fds).toEqual([]);
    });

    it.each([
      ['argsz 15', { argsz: 15 }],
      ['argsz over 1 MiB', { argsz: 1_048_577 }],
      ['flags', { flags: 1 }],
      ['count', { count: 1 }],
      ['index 9', { index: 9 }],
      ['a region that is not there', { index: 3 }],
    ])('with %s is EINVAL', async (_what, change) => {
      await rules.expectReply('EINVAL', command, u.regionIoFds.encode({ ...ask, ...change }));
    });
  });

  describe('DEVICE_GET_IRQ_INFO', () => {
    const ask = (index: number, argsz = 16) =>
      u.irqInfo.encode({ argsz, flags: 0, index, count: 0 });
    const command = u.VFIO_USER_DEVICE_GET_IRQ_INFO;

    it.each([
      [0, 0, 0],
      [2, 9, 24],
      [4, 1, 1],
    ])('describes index %i', async (index, flags, count) => {
      rules.peer.send(command, ask(index));
      const { payload } = await rules.peer.next();
      expect(u.irqInfo.decode(payload)).toEqual({ argsz: 16, flags, index, count });
    });

    it.each([
      ['index 5', ask(5)],
      ['argsz 15', ask(0, 15)],
      ['a short payload', ask(0).subarray(1)],
    ])('with %s is EINVAL', async (_what, payload) => {
      await rules.expectReply('EINVAL', command, payload);
    });
  });

  describe('DEVICE_RESET', () => {
    it('resets', async () => {
      expect(await rules.peer.ask(u.VFIO_USER_DEVICE_RESET)).toBe('ok');
      expect(rules.endpoint.calls).toEqual(['reset']);
    });

    it('with a payload is EINVAL', async () => {
      await rules.expectReply('EINVAL', u.VFIO_USER_DEVICE_RESET, new Uint8Array(1));
    });
  });

  describe('region access', () => {
    const access = (region: number, offset: number, count: number, data = 0) => {
      const payload = new Uint8Array(16 + data).fill(0x5a);
      u.regionAccess.encodeAt({ offset, region, count }, payload, 0);
      return payload;
    };
    const read = u.VFIO_USER_REGION_READ;
    const write = u.VFIO_USER_REGION_WRITE;

    it('reads, with the request echoed', async () => {
      rules.endpoint.memory[0]?.set([1, 2, 3], 0x7ffd);
      rules.peer.send(read, access(0, 0x7ffd, 3));
      const { payload } = await rules.peer.next();
      expect([...payload]).toEqual([...access(0, 0x7ffd, 3), 1, 2, 3]);
    });

    it('writes, with the request echoed', async () => {
      rules.peer.send(write, access(0, 0x7ffd, 3, 3));
      const { payload } = await rules.peer.next();
      expect([...payload]).toEqual([...access(0, 0x7ffd, 3)]);
      expect([...(rules.endpoint.memory[0] ?? []).slice(0x7ffc)]).toEqual([0, 0x5a, 0x5a, 0x5a]);
      expect(rules.endpoint.calls).toEqual(['write 0 32765 3']);
    });

    it('takes 1 MiB of data, both ways', async () => {
      expect(await rules.peer.ask(write, access(2, 1, 1_048_576, 1_048_576))).toBe('ok');
      rules.peer.send(read, access(2, 0, 1_048_576));
      const { payload } = await rules.peer.next();
      expect(payload.length).toBe(16 + 1_048_576);
      expect([payload[16], payload[17], payload.at(-1)]).toEqual([0, 0x5a, 0x5a]);
    });

    it('of no bytes succeeds with a header alone', async () => {
      for (const command of [read, write]) {
        rules.peer.send(command, access(0, 0x8000, 0));
        const reply = await rules.peer.next();
        expect([verdict(reply), reply.payload.length]).toEqual(['ok', 0]);
      }
      expect(rules.endpoint.calls).toEqual([]);
    });

    it.each([
      ['a read of 2^20 + 1 bytes', read, access(2, 0, 1_048_577)],
      ['a write of 2^20 + 1 bytes', write, access(2, 0, 1_048_577, 1_048_577)],
      ['a read past the end', read, access(0, 0x7ffd, 4)],
      ['a write past the end', write, access(0, 0x7ffd, 4, 4)],
      ['a read far out', read, access(0, 2 ** 53 - 1, 4)],
      ['a region that is not there', read, access(3, 0, 1)],
      ['region 9', read, access(9, 0, 4)],
      ['a write of less data than it says', write, access(0, 0, 4, 3)],
      ['a write of more data than it says', write, access(0, 0, 4, 5)],
      ['a read with data', read, access(0, 0, 4, 4)],
      ['a short read', read, new Uint8Array(15)],
      ['a short write', write, new Uint8Array(15)],
      ['an offset of 2^53', read, Uint8Array.of(0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 4, 0, 0, 0)],
    ])('%s is EINVAL', async (_what, command, payload) => {
      await rules.expectReply('EINVAL', command, payload);
    });

    it('a write to a read-only region is EPERM', async () => {
      await rules.expectReply('EPERM', write, access(1, 0, 4, 4));
    });

    it('with No_reply is done and not answered', async () => {
      rules.peer.send(write, access(0, 0, 4, 4), { flags: 0x10 });
      expect(await rules.peer.ask(u.VFIO_USER_DEVICE_GET_INFO, infoPayload())).toBe('ok');
      expect(rules.endpoint.calls).toEqual(['write 0 0 4 posted']);
    });

    it('with No_reply is not answered when it fails, either', async () => {
      rules.peer.send(write, access(1, 0, 4, 4), { flags: 0x10 });
      expect(await rules.peer.ask(u.VFIO_USER_DEVICE_GET_INFO, infoPayload())).toBe('ok');
      expect(rules.endpoint.calls).toEqual([]);
    });
  });
});
