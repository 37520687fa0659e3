// A dma-buf is taken back for good, and only that one.
import { closeSync, openSync } from 'node:fs';
import { memattr, O_PATH, O_RDONLY, outcomeOf, pageBytes } from './exporter.js';
import { foreignDmaBuf } from './foreign-dma-buf.js';
import { expectSame, identification, type Rule } from './rule.js';

const registers = [{ first: 0, count: 1 }];
const writable = { offsetBytes: 0, lengthBytes: pageBytes, writable: true };

export const revokingRules: readonly Rule[] = [
  {
    name: 'when a revoke returns, every access through the dma-buf is SIGBUS',
    needs: ['map', 'revoke'],
    async check({ open, start }) {
      using device = open();
      using buffer = device.export(registers);
      await using mapper = start(buffer);
      for (const slot of [0, 1]) await mapper.map({ slot });
      expectSame('before', await mapper.read(), identification);
      expectSame('revoke', device.revoke(buffer.number), 'ok');
      expectSame('touched before', await mapper.read(), 'SIGBUS');
      expectSame('a write', await mapper.write(4, 1), 'SIGBUS');
      expectSame('not touched before', await mapper.read(0, 1), 'SIGBUS');
    },
  },
  {
    name: 'a guarded mapping reads all ones after a revoke, and says so',
    needs: ['map', 'revoke'],
    async check({ os, open }) {
      using device = open();
      using buffer = device.export(registers);
      using mapping = os.memory.map(buffer, { ...writable, guard: 'ones' });
      const words = new Uint32Array(mapping.buffer);
      expectSame('before', `0x${words[0]?.toString(16)}`, identification);
      expectSame('revoked', mapping.revoked, false);
      expectSame('revoke', device.revoke(buffer.number), 'ok');
      expectSame('after', words[0], 0xffff_ffff);
      expectSame('revoked', mapping.revoked, true);
    },
  },
  {
    name: 'a revoked dma-buf cannot be mapped: ENODEV',
    needs: ['map', 'revoke'],
    async check({ os, open, start }) {
      using device = open();
      using buffer = device.export(registers);
      await using mapper = start(buffer);
      device.revoke(buffer.number);
      expectSame('there', await mapper.map(), 'ENODEV');
      expectSame('to read', await mapper.map({ access: 'r' }), 'ENODEV');
      expectSame(
        'here',
        outcomeOf(() => os.memory.map(buffer, writable)),
        'ENODEV',
      );
    },
  },
  {
    name: 'a revoke reaches children, other processes and mappings without a descriptor',
    needs: ['map', 'revoke'],
    async check({ open, start }) {
      using device = open();
      using buffer = device.export(registers);
      await using one = start(buffer);
      await using other = start(buffer);
      await one.map();
      await other.map();
      expectSame('one', await one.read(), identification);
      expectSame('other', await other.read(), identification);
      await one.ask('fork');
      expectSame('the child', await one.ask('child read 0 0'), identification);
      await one.ask('close');
      expectSame('revoke', device.revoke(buffer.number), 'ok');
      expectSame('one', await one.read(), 'SIGBUS');
      expectSame('the child', await one.ask('child read 0 0'), 'SIGBUS');
      expectSame('the child maps', await one.ask('child map 1 shared r 0 1'), 'ENODEV');
      expectSame('other', await other.read(), 'SIGBUS');
    },
  },
  {
    name: 'a second revoke is EBADFD',
    needs: ['revoke'],
    async check({ open }) {
      using device = open();
      using buffer = device.export(registers);
      using copy = buffer.duplicate();
      expectSame('the first', device.revoke(buffer.number), 'ok');
      expectSame('the second', device.revoke(buffer.number), 'EBADFD');
      expectSame('by a copy', device.revoke(copy.number), 'EBADFD');
    },
  },
  {
    name: 'any descriptor of the dma-buf will do, also one that is only readable',
    needs: ['revoke'],
    async check({ open }) {
      using device = open();
      using buffer = device.export(registers, O_RDONLY);
      using copy = buffer.duplicate();
      buffer.close();
      expectSame('revoke', device.revoke(copy.number), 'ok');
    },
  },
  {
    name: 'what is no dma-buf, or not of this device, is refused: EBADF, EINVAL, ENODEV',
    needs: ['revoke'],
    async check({ os, open }) {
      using before = open();
      using old = before.export(registers);
      before[Symbol.dispose]();
      using device = open();
      using buffer = device.export(registers);
      using memory = os.memory.create('no-dma-buf', pageBytes);
      using foreign = foreignDmaBuf(os);
      const path = openSync(`/proc/self/fd/${buffer.number}`, O_PATH);
      expectSame('no descriptor', device.revoke(-1), 'EBADF');
      expectSame('a descriptor that is not open', device.revoke(1_000_000), 'EBADF');
      expectSame('a path', device.revoke(path), 'EBADF');
      closeSync(path);
      expectSame('a memfd', device.revoke(memory.number), 'EINVAL');
      expectSame('the device itself', device.revoke(device.fd.number), 'EINVAL');
      expectSame("another exporter's", device.revoke(foreign.number), 'ENODEV');
      expectSame('one from before it was closed', device.revoke(old.number), 'ENODEV');
      expectSame('and the real one', device.revoke(buffer.number), 'ok');
    },
  },
  {
    name: 'a dma-buf of another device is ENODEV, and nothing happens to it',
    needs: ['map', 'revoke', 'other'],
    async check({ open, openOther, start }) {
      using device = open();
      using other = openOther();
      using buffer = other.export(registers);
      await using mapper = start(buffer);
      await mapper.map();
      const word = await mapper.read();
      expectSame('revoke', device.revoke(buffer.number), 'ENODEV');
      expectSame('its page', await mapper.read(), word);
      expectSame('by its own device', other.revoke(buffer.number), 'ok');
      expectSame('its page', await mapper.read(), 'SIGBUS');
    },
  },
  {
    name: 'of two exports of one range, one is revoked and the other lives, and a third can follow',
    needs: ['map', 'revoke'],
    async check({ open, start }) {
      using device = open();
      using gone = device.export(registers);
      using kept = device.export(registers);
      await using loser = start(gone);
      await using keeper = start(kept);
      await loser.map();
      await keeper.map();
      expectSame('before', await loser.read(), identification);
      expectSame('before', await keeper.read(), identification);
      device.revoke(gone.number);
      expectSame('the revoked one', await loser.read(), 'SIGBUS');
      expectSame('the other one', await keeper.read(), identification);
      expectSame('mapped again', await keeper.map({ slot: 1 }), 'ok');
      using next = device.export(registers);
      await using third = start(next);
      expectSame('a third', await third.map(), 'ok');
      expectSame('its page', await third.read(), identification);
      expectSame('the revoked one', await loser.read(), 'SIGBUS');
    },
  },
  {
    name: 'nothing brings a revoked dma-buf back',
    needs: ['map', 'revoke'],
    async check({ open, start }) {
      using device = open();
      using early = device.export(registers);
      using late = device.export(registers);
      await using first = start(early);
      await using second = start(late);
      await first.map();
      await second.map();
      device.revoke(early.number);
      device.setMemory(false);
      expectSame('revoke while memory is off', device.revoke(late.number), 'ok');
      device.setMemory(true);
      for (const mapper of [first, second]) {
        expectSame('memory is on again', await mapper.read(), 'SIGBUS');
        expectSame('and a new mapping', await mapper.map({ slot: 1 }), 'ENODEV');
      }
      device[Symbol.dispose]();
      using again = open();
      expectSame('opened again', await first.read(), 'SIGBUS');
      expectSame('to revoke it', again.revoke(early.number), 'ENODEV');
    },
  },
  {
    name: 'a memory attribute is for later mappings; ENOENT for an unknown one',
    needs: ['map', 'memattr'],
    async check({ os, open, start }) {
      using device = open();
      using buffer = device.export(registers);
      using foreign = foreignDmaBuf(os);
      await using mapper = start(buffer);
      const { NC, WC, unknown } = memattr;
      await mapper.map();
      expectSame('WC', device.setMemattr(buffer.number, WC), 'ok');
      expectSame('map', await mapper.map({ slot: 1 }), 'ok');
      expectSame('NC', device.setMemattr(buffer.number, NC), 'ok');
      expectSame('map', await mapper.map({ slot: 2 }), 'ok');
      for (const slot of [0, 1, 2]) expectSame('read', await mapper.read(0, slot), identification);
      expectSame('2', device.setMemattr(buffer.number, 2), 'ENOENT');
      expectSame('unknown', device.setMemattr(buffer.number, unknown), 'ENOENT');
      expectSame('unknown, of nothing', device.setMemattr(-1, unknown), 'ENOENT');
      expectSame('of nothing', device.setMemattr(-1, WC), 'EBADF');
      expectSame("of another exporter's", device.setMemattr(foreign.number, WC), 'ENODEV');
    },
  },
  {
    name: 'a revoked dma-buf takes no memory attribute: EBADFD',
    needs: ['revoke', 'memattr'],
    async check({ open }) {
      using device = open();
      using buffer = device.export(registers);
      device.revoke(buffer.number);
      expectSame('WC', device.setMemattr(buffer.number, memattr.WC), 'EBADFD');
    },
  },
];
