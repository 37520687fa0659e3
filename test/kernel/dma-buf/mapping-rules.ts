// What a mapping of a dma-buf shows, and which mappings there are.
import { readFileSync } from 'node:fs';
import { AssertionFailure } from '../../../src/base/errors.js';
import { eduRegister } from '../../../src/device/edu/registers.js';
import { O_RDONLY, outcomeOf, pageBytes } from './exporter.js';
import { expectSame, identification, nothingThere, type Rule } from './rule.js';

const registers = [{ first: 0, count: 1 }];
/** The registers are the fourth page of it, behind two of which one comes later in the BAR. */
const inARow = [
  { first: 16, count: 1 },
  { first: 8, count: 2 },
  { first: 0, count: 1 },
  { first: 32, count: 1 },
];
const registersAt = 3;

/** Of the mapping that begins there, as /proc/<pid>/smaps spells them. */
function flagsOf(pid: number, start: string): readonly string[] {
  const text = readFileSync(`/proc/${pid}/smaps`, 'utf8');
  const at = text.indexOf(`\n${start}-`);
  const flags = /VmFlags: (.*)/.exec(text.slice(at))?.[1];
  if (at < 0 || flags === undefined) throw new AssertionFailure(`no mapping at ${start}`);
  return flags.trim().split(' ');
}

export const mappingRules: readonly Rule[] = [
  {
    name: 'a mapping is the device: what is read comes from it, what is written goes there',
    needs: ['map'],
    async check({ os, open }) {
      using device = open();
      using buffer = device.export(registers);
      using mapping = os.memory.map(buffer, {
        ...{ offsetBytes: 0, lengthBytes: pageBytes, writable: true },
      });
      const words = new Uint32Array(mapping.buffer);
      expectSame('identification', `0x${words[0]?.toString(16)}`, identification);
      words[eduRegister.LIVENESS / 4] = 0x1234;
      expectSame('liveness', words[eduRegister.LIVENESS / 4], ~0x1234 >>> 0);
      expectSame('read by VFIO', device.registers().read(eduRegister.LIVENESS, 4), ~0x1234 >>> 0);
    },
  },
  {
    name: 'ranges follow one another in the order they were given in, and the offset counts there',
    needs: ['map'],
    async check({ open, start }) {
      using device = open();
      using buffer = device.export(inARow);
      await using mapper = start(buffer);
      expectSame('map', await mapper.map({ pages: 5 }), 'ok');
      const found: string[] = [];
      for (let page = 0; page < 5; page += 1) found.push(await mapper.read(page * pageBytes));
      const wanted = [nothingThere, nothingThere, nothingThere, identification, nothingThere];
      expectSame('the pages', found.join(), wanted.join());
      expectSame('map', await mapper.map({ slot: 1, firstPage: registersAt }), 'ok');
      expectSame('the page alone', await mapper.read(0, 1), identification);
    },
  },
  {
    name: 'a mapping beyond the end is EINVAL',
    needs: ['map'],
    async check({ open, start }) {
      using device = open();
      using buffer = device.export(inARow);
      await using mapper = start(buffer);
      expectSame('a page too many', await mapper.map({ pages: 6 }), 'EINVAL');
      expectSame('from the last page on', await mapper.map({ firstPage: 4, pages: 2 }), 'EINVAL');
      expectSame('from the end on', await mapper.map({ firstPage: 5 }), 'EINVAL');
      expectSame('far away', await mapper.map({ firstPage: 0x8000_0000 }), 'EINVAL');
    },
  },
  {
    name: 'a private mapping is EINVAL',
    needs: ['map'],
    async check({ open, start }) {
      using device = open();
      for (const access of ['r', 'rw'] as const) {
        using buffer = device.export(registers);
        await using mapper = start(buffer);
        expectSame(access, await mapper.map({ kind: 'private', access }), 'EINVAL');
      }
      using readable = device.export(registers, O_RDONLY);
      await using mapper = start(readable);
      expectSame('readable', await mapper.map({ kind: 'private', access: 'r' }), 'EINVAL');
    },
  },
  {
    name: 'who has a readable file can map it, and never write',
    needs: ['map'],
    async check({ open, start }) {
      using device = open();
      using buffer = device.export(registers, O_RDONLY);
      await using mapper = start(buffer);
      expectSame('a writable mapping', await mapper.map(), 'EACCES');
      expectSame('a readable mapping', await mapper.map({ access: 'r' }), 'ok');
      expectSame('its page', await mapper.read(), identification);
      expectSame('made writable', await mapper.ask('allow-writing 0'), 'EACCES');
    },
  },
  {
    name: 'a mapping cannot grow, is in no core file, and has no pages that can be pinned',
    needs: ['map'],
    async check({ open, start }) {
      using device = open();
      using buffer = device.export(inARow);
      await using mapper = start(buffer);
      await mapper.map();
      expectSame('grow', await mapper.ask('grow 0'), 'EFAULT');
      const flags = flagsOf(mapper.pid, await mapper.ask('where 0'));
      for (const flag of ['sh', 'io', 'pf', 'de', 'dd']) {
        expectSame(`flag ${flag}`, flags.includes(flag), true);
      }
    },
  },
  {
    name: 'a dma-buf can be mapped many times, and a mapping outlives others and the descriptor',
    needs: ['map'],
    async check({ open, start }) {
      using device = open();
      using buffer = device.export(registers);
      await using mapper = start(buffer);
      for (const slot of [0, 1, 2]) expectSame('map', await mapper.map({ slot }), 'ok');
      await mapper.write(eduRegister.LIVENESS, 0xf0f0, 1);
      expectSame('seen by another', await mapper.read(eduRegister.LIVENESS, 2), '0xffff0f0f');
      expectSame('unmap', await mapper.ask('unmap 0'), 'ok');
      expectSame('close', await mapper.ask('close'), 'ok');
      buffer.close();
      expectSame('what is left', await mapper.read(0, 1), identification);
    },
  },
  {
    name: 'a range can be exported again, and in part',
    needs: ['map'],
    async check({ open, start }) {
      using device = open();
      using whole = device.export([{ first: 0, count: 256 }]);
      using twice = device.export([...registers, ...registers]);
      await using first = start(whole);
      await using second = start(twice);
      expectSame('map', await first.map({ pages: 256 }), 'ok');
      expectSame('map', await second.map({ pages: 2 }), 'ok');
      expectSame('the whole', await first.read(), identification);
      expectSame('once', await second.read(), identification);
      expectSame('and again', await second.read(pageBytes), identification);
    },
  },
  {
    name: 'a child has what its parent mapped',
    needs: ['map'],
    async check({ open, start }) {
      using device = open();
      using buffer = device.export(registers);
      await using mapper = start(buffer);
      await mapper.map();
      await mapper.map({ slot: 1 });
      expectSame('the parent', await mapper.read(), identification);
      await mapper.ask('fork');
      expectSame('touched before', await mapper.ask('child read 0 0'), identification);
      expectSame('not touched before', await mapper.ask('child read 1 0'), identification);
      expectSame('map', await mapper.ask('child map 2 shared rw 0 1'), 'ok');
      expectSame('mapped by itself', await mapper.ask('child read 2 0'), identification);
    },
  },
  {
    name: 'ranges that no BAR has are refused',
    needs: [],
    async check({ open }) {
      using device = open();
      const of = (first: number, count: number): string =>
        outcomeOf(() => device.export([{ first, count }]).close());
      expectSame('the last page', of(255, 1), 'ok');
      expectSame('behind it', of(256, 1), 'EINVAL');
      expectSame('across the end', of(255, 2), 'EINVAL');
      expectSame('nothing', of(0, 0), 'EINVAL');
      expectSame(
        'no ranges',
        outcomeOf(() => device.export([]).close()),
        'EINVAL',
      );
    },
  },
];
