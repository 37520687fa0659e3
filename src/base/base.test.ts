import { describe, expect, test } from 'vitest';
import { type Errno, errnoName, errnoNumber, errnoNumbers } from './errno.js';
import { isLessorError } from './errors.js';
import {
  type Isolation,
  isolationAtLeast,
  isolations,
  type Revocation,
  revocationAtLeast,
  revocations,
} from './labels.js';
import { limits } from './limits.js';
import { limitsPage } from './limits-page.js';
import { Listeners } from './listeners.js';
import { silentLogger } from './log.js';
import * as units from './units.js';

function codeOf(call: () => unknown): string | undefined {
  try {
    call();
  } catch (error) {
    return isLessorError(error) ? error.code : String(error);
  }
  return undefined;
}

describe('errno', () => {
  test.each<[Errno, number]>([
    ['EPERM', 1],
    ['ENOENT', 2],
    ['EAGAIN', 11],
    ['EINVAL', 22],
    ['ENOSYS', 38],
    ['EPROTO', 71],
    ['EOPNOTSUPP', 95],
    ['ETIMEDOUT', 110],
    ['ESTALE', 116],
    ['ERFKILL', 132],
  ])('%s is %i', (name, number) => {
    expect(errnoNumber(name)).toBe(number);
    expect(errnoName(number)).toBe(name);
  });

  test('every number has one name; an unknown one is EIO', () => {
    expect(new Set(Object.values(errnoNumbers)).size).toBe(Object.keys(errnoNumbers).length);
    expect(errnoName(4000)).toBe('EIO');
    expect(errnoName(0)).toBe('EIO');
  });
});

describe('units', () => {
  test.each([0, 1, 4096, 2 ** 48 - 1, 0n, 2n ** 48n - 1n])('%s is an IOVA', (value) => {
    expect(units.toIova(value)).toBe(Number(value));
  });

  test.each([-1, 2 ** 48, 0.5, Number.NaN, Infinity, -1n, 2n ** 48n, 2n ** 64n])(
    '%s is none',
    (value) => {
      expect(codeOf(() => units.toIova(value))).toBe('INVALID_ARGUMENT');
    },
  );

  test('a count is checked at its limit', () => {
    expect(units.toCount(7, 'n', 7)).toBe(7);
    expect(codeOf(() => units.toCount(8, 'n', 7))).toBe('INVALID_ARGUMENT');
    expect(codeOf(() => units.toCount(8n, 'n', 7))).toBe('INVALID_ARGUMENT');
  });

  test('alignment beyond 32 bits', () => {
    const large = 2 ** 47 + 4096;
    expect(units.isAligned(large, 4096)).toBe(true);
    expect(units.isAligned(large + 1, 4096)).toBe(false);
    expect(units.roundUp(large + 1, 4096)).toBe(large + 4096);
    expect(units.roundUp(large, 4096)).toBe(large);
    expect(units.roundDown(large + 4095, 4096)).toBe(large);
  });

  test('powers of two and hexadecimal', () => {
    expect([1, 2, 3, 4096, 4097, 2 ** 40 + 1].map(units.powerOfTwoAtLeast)).toEqual([
      1,
      2,
      4,
      4096,
      8192,
      2 ** 41,
    ]);
    expect(units.hex(0x10000)).toBe('0x10000');
    expect(units.hex(2n ** 64n - 1n)).toBe('0xffffffffffffffff');
  });
});

describe('labels', () => {
  /** Row at least column, in the order of the lists. */
  const isolationTable: Record<Isolation, string> = {
    //               cooperative server device-bounds exclusive pasid
    cooperative: '   yes         no     no            no        no',
    server: '        yes         yes    no            no        no',
    'device-bounds': 'yes         yes    yes           no        no',
    exclusive: '     yes         yes    yes           yes       yes',
    pasid: '         yes         yes    yes           yes       yes',
  };
  const revocationTable: Record<Revocation, string> = {
    //         process orphan kernel mediated
    process: ' yes     no     no     no',
    orphan: '  yes     yes    no     no',
    kernel: '  yes     yes    yes    no',
    mediated: 'yes     yes    yes    yes',
  };

  test.each(isolations)('isolation %s', (offered) => {
    const row = isolations.map((minimum) => (isolationAtLeast(offered, minimum) ? 'yes' : 'no'));
    expect(row).toEqual(isolationTable[offered].trim().split(/\s+/));
  });

  test.each(revocations)('revocation %s', (offered) => {
    const row = revocations.map((minimum) => (revocationAtLeast(offered, minimum) ? 'yes' : 'no'));
    expect(row).toEqual(revocationTable[offered].trim().split(/\s+/));
  });
});

describe('listeners', () => {
  test('are called in order; one function added twice is called twice', () => {
    const listeners = new Listeners<string>();
    const seen: string[] = [];
    const note = (event: string) => seen.push(`1${event}`);
    const first = listeners.add(note);
    listeners.add(note);
    listeners.add((event) => seen.push(`2${event}`));
    listeners.emit('a');
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    listeners.emit('b');
    expect(seen).toEqual(['1a', '1a', '2a', '1b', '2b']);
    expect(listeners.size).toBe(2);
  });

  test('that fail do not keep the event from the others', () => {
    const listeners = new Listeners<void>();
    const seen: number[] = [];
    listeners.add(() => {
      throw new TypeError('first');
    });
    listeners.add(() => seen.push(2));
    listeners.add(() => {
      throw new TypeError('third');
    });
    expect(() => listeners.emit()).toThrow('first');
    expect(seen).toEqual([2]);
  });

  test('added during an event hear the next one', () => {
    const listeners = new Listeners<void>();
    let count = 0;
    listeners.add(() => {
      if (count === 0) listeners.add(() => (count += 10));
      count += 1;
    });
    listeners.emit();
    expect(count).toBe(1);
    listeners.emit();
    expect(count).toBe(12);
  });
});

describe('limits', () => {
  test('are positive whole numbers', () => {
    for (const [name, value] of Object.entries(limits)) {
      expect(Number.isSafeInteger(value) && value > 0, name).toBe(true);
      expect(name, name).toMatch(/(Max|Ms|Min|Micros)$/);
    }
  });

  test('fit together', () => {
    expect(limits.varlinkReplyBytesMax).toBeLessThanOrEqual(limits.sendQueueBytesMax);
    expect(limits.vfioUserDataBytesMax).toBeLessThan(limits.vfioUserMessageBytesMax);
    expect(limits.placedBytesPerLeaseMax).toBeLessThanOrEqual(limits.placedBytesMax);
    expect(limits.waitersPerUidMax).toBeLessThanOrEqual(limits.leasesPerUidMax);
  });

  test('have a page that reads their comments and shows units', () => {
    const names = Object.keys(limits);
    const source = names.map((name) => `/** About\n * ${name}. */\n  ${name}: 1,`).join('\n');
    const page = limitsPage(source);
    expect(page).toContain('| `varlinkMessageBytesMax` | 64 KiB | About varlinkMessageBytesMax. |');
    expect(page).toContain('| `waitMsMax` | 1 d |');
    expect(page).toContain('| `varlinkFdsMax` | 4 |');
    expect(() => limitsPage('')).toThrow('has no comment');
  });
});

test('the silent logger says nothing', () => {
  for (const level of ['debug', 'info', 'warn', 'error'] as const) {
    expect(silentLogger[level]('text', { a: 1 })).toBeUndefined();
  }
});
