import { describe, expect, test } from 'vitest';
import type { ErrorCode } from '../base/errors.js';
import { type Isolation, isolations, type Revocation } from '../base/labels.js';
import { limits } from '../base/limits.js';
import {
  connectDenial,
  decide,
  offeredRevocations,
  revocationDenial,
  windowMapDenial,
} from './decide.js';
import { adminDenial, manageDenial } from './operate.js';
import { toAcquireRequest } from './request.js';
import type { AcquireRequest, Facts, LeaseTerms } from './types.js';

const plain = toAcquireRequest({ memoryBytes: 10_000 });
const facts: Facts = {
  peer: { uid: 1000, gid: 1000, pid: 4711 },
  brokerUid: 1000,
  brokerPid: 1,
  switches: {
    allowCooperative: false,
    allowUnsealedMemory: false,
    forceDmaBufWindows: false,
    allowProcess: false,
  },
  offer: {
    isolation: 'pasid',
    served: false,
    revocations: ['kernel', 'mediated'],
    windows: { direct: false, harmful: false, combining: false },
    vectors: 2,
    iovaPageBytes: 4096,
    apertureBytes: 2 ** 47,
    windowBytes: 8192,
  },
  usage: { leasesOfUid: 0, orphanBytesOfUid: 0, draining: false },
  limits,
};

/** The code of a denial, or the terms as far as they are asked for. */
function verdict(request: Partial<AcquireRequest>, changed: Partial<Facts> = {}) {
  const result = decide({ ...plain, ...request }, { ...facts, ...changed });
  return 'allow' in result ? result.terms : result.code;
}

const offering = (offer: Partial<Facts['offer']>): Partial<Facts> => ({
  offer: { ...facts.offer, ...offer },
});

describe('who may acquire', () => {
  test.each([
    [1000, 1000, true],
    [0, 1000, true],
    [1001, 1000, false],
    [1000, 0, false],
    [0, 0, true],
  ])('uid %i of a broker of uid %i: %s', (uid, brokerUid, allowed) => {
    const answer = verdict({}, { peer: { ...facts.peer, uid }, brokerUid });
    expect(answer === 'DENIED').toBe(!allowed);
    expect(adminDenial(uid, brokerUid) === undefined).toBe(allowed);
  });

  test('nobody while the broker drains', () => {
    expect(verdict({}, { usage: { ...facts.usage, draining: true } })).toBe('DENIED');
  });
});

test('the terms of a plain request', () => {
  const terms: LeaseTerms = {
    isolation: 'pasid',
    revocation: 'kernel',
    exclusive: false,
    memoryBytes: 12_288,
    vectors: 2,
    ttlMs: undefined,
    ttlMsMax: limits.ttlMsMax,
    holder: 'acquirer',
    waitMs: 0,
    priority: 0,
    allowUnsealedMemory: false,
    listen: false,
  };
  expect(verdict({})).toEqual(terms);
});

test('unsealed memory is a term, decided by the switch', () => {
  const switches = { ...facts.switches, allowUnsealedMemory: true };
  expect(verdict({}, { switches })).toMatchObject({ allowUnsealedMemory: true });
});

describe('limits', () => {
  test.each<[string, Partial<AcquireRequest>, Partial<AcquireRequest>, ErrorCode]>([
    [
      'memoryBytes',
      { memoryBytes: limits.leaseMemoryBytesMax },
      { memoryBytes: limits.leaseMemoryBytesMax + 1 },
      'INVALID_ARGUMENT',
    ],
    ['vectors', { vectors: 2 }, { vectors: 3 }, 'INVALID_ARGUMENT'],
    ['ttlMs', { ttlMs: limits.ttlMsMax }, { ttlMs: limits.ttlMsMax + 1 }, 'INVALID_ARGUMENT'],
    ['waitMs', { waitMs: limits.waitMsMax }, { waitMs: limits.waitMsMax + 1 }, 'INVALID_ARGUMENT'],
    ['priority', { priority: 100 }, { priority: 101 }, 'INVALID_ARGUMENT'],
    ['-priority', { priority: -100 }, { priority: -101 }, 'INVALID_ARGUMENT'],
  ])('%s at the limit and one past it', (_, at, past, code) => {
    expect(verdict(at)).toMatchObject(at);
    expect(verdict(past)).toBe(code);
  });

  test('leases of one uid', () => {
    const usage = (leasesOfUid: number) => ({ usage: { ...facts.usage, leasesOfUid } });
    expect(verdict({}, usage(limits.leasesPerUidMax - 1))).toMatchObject({ vectors: 2 });
    expect(verdict({}, usage(limits.leasesPerUidMax))).toBe('QUOTA_EXCEEDED');
  });

  test('a window larger than the function can address', () => {
    const small = offering({ apertureBytes: 8192 });
    expect(verdict({ memoryBytes: 8192 }, small)).toMatchObject({ memoryBytes: 8192 });
    expect(verdict({ memoryBytes: 8193 }, small)).toBe('INVALID_ARGUMENT');
  });
});

describe('isolation', () => {
  const allowed = { ...facts.switches, allowCooperative: true };

  /** Minimum asked, down; isolation on offer, across, in the order of `isolations`. */
  const table: Record<Isolation, string> = {
    cooperative: '  cooperative server device-bounds exclusive pasid',
    server: '       -           server device-bounds exclusive pasid',
    'device-bounds': '-          -      device-bounds exclusive pasid',
    exclusive: '    -           -      -             exclusive pasid',
    pasid: '        -           -      -             exclusive pasid',
  };
  for (const minimum of isolations) {
    const wanted = table[minimum].trim().split(/\s+/);
    isolations.forEach((isolation, index) => {
      test(`at least ${minimum}, ${isolation} on offer: ${wanted[index]}`, () => {
        const answer = verdict(
          { isolation: minimum },
          { ...offering({ isolation }), switches: allowed },
        );
        if (wanted[index] === '-') expect(answer).toBe('ISOLATION_UNAVAILABLE');
        else expect(answer).toMatchObject({ isolation: wanted[index] });
      });
    });
  }

  test('cooperative is refused unless allowed, whatever was asked', () => {
    const cooperative = offering({ isolation: 'cooperative' });
    expect(verdict({}, cooperative)).toBe('DENIED');
    expect(verdict({ isolation: 'cooperative' }, cooperative)).toBe('DENIED');
    expect(verdict({}, { ...cooperative, switches: allowed })).toMatchObject({
      isolation: 'cooperative',
    });
  });

  test.each<[Isolation, boolean, string]>([
    ['pasid', false, 'server'],
    ['exclusive', false, 'server'],
    ['device-bounds', false, 'server'],
    ['device-bounds', true, 'server'],
    ['server', true, 'server'],
    ['cooperative', false, 'cooperative'],
    ['cooperative', true, 'server'],
  ])(
    '%s on a function that another process serves, alone %s: %s',
    (isolation, exclusive, wanted) => {
      const served = { ...offering({ isolation, served: true }), switches: allowed };
      expect(verdict({ exclusive }, served)).toMatchObject({ isolation: wanted });
      const minimum = verdict({ exclusive, isolation: 'device-bounds' }, served);
      expect(minimum).toBe('ISOLATION_UNAVAILABLE');
    },
  );

  test.each<[Isolation, Isolation]>([
    ['cooperative', 'exclusive'],
    ['server', 'server'],
    ['device-bounds', 'exclusive'],
    ['exclusive', 'exclusive'],
    ['pasid', 'pasid'],
  ])('alone on a function that offers %s: %s', (isolation, shown) => {
    const answer = verdict({ exclusive: true }, offering({ isolation }));
    expect(answer).toMatchObject({ isolation: shown, exclusive: true });
  });
});

test.each<[Isolation, boolean]>([
  ['exclusive', true],
  ['pasid', false],
  ['device-bounds', false],
])('a function that offers %s is leased alone unasked: %s', (isolation, exclusive) => {
  expect(verdict({}, offering({ isolation }))).toMatchObject({ isolation, exclusive });
  const served = offering({ isolation, served: true });
  expect(verdict({}, served)).toMatchObject({ isolation: 'server', exclusive });
});

describe('revocation', () => {
  test.each<[Revocation | undefined, boolean, readonly Revocation[], string]>([
    [undefined, false, ['kernel', 'mediated'], 'kernel'],
    ['kernel', false, ['kernel', 'mediated'], 'kernel'],
    ['orphan', true, ['kernel', 'mediated'], 'kernel'],
    ['mediated', false, ['kernel', 'mediated'], 'mediated'],
    ['mediated', true, ['kernel', 'mediated'], '-'],
    [undefined, true, ['mediated'], '-'],
    [undefined, false, ['mediated'], 'mediated'],
    ['kernel', false, ['orphan'], '-'],
    ['orphan', false, ['orphan'], 'orphan'],
    ['process', false, ['orphan'], 'orphan'],
    [undefined, false, [], '-'],
  ])('at least %s, mapped %s, of %j: %s', (revocation, mapped, revocations, wanted) => {
    const answer = verdict({ revocation, mapped }, offering({ revocations }));
    if (wanted === '-') expect(answer).toBe('REVOCATION_UNAVAILABLE');
    else expect(answer).toMatchObject({ revocation: wanted });
  });
});

describe('the device itself', () => {
  const asked = { revocation: 'process', mapped: true } as const;
  const switches = { ...facts.switches, allowProcess: true, allowCooperative: true };
  const offered = (offer: Partial<Facts['offer']> = {}): Partial<Facts> => ({
    ...offering({ isolation: 'exclusive', revocations: ['mediated', 'process'], ...offer }),
    switches,
  });

  test.each<[Partial<AcquireRequest>, readonly Revocation[], string]>([
    [asked, ['mediated', 'process'], 'process'],
    [asked, ['kernel', 'mediated', 'process'], 'kernel'],
    [{ ...asked, mapped: false }, ['mediated', 'process'], 'mediated'],
    [{ mapped: true }, ['mediated', 'process'], '-'],
    [{ mapped: true, revocation: 'orphan' }, ['mediated', 'process'], '-'],
    [asked, ['mediated'], '-'],
  ])('is given to who asks for it and no other way is left: %j of %j: %s', (...row) => {
    const [request, revocations, wanted] = row;
    const answer = verdict(request, offered({ revocations }));
    if (wanted === '-') expect(answer).toBe('REVOCATION_UNAVAILABLE');
    else expect(answer).toMatchObject({ revocation: wanted });
  });

  test.each<[Isolation, boolean, string]>([
    ['exclusive', false, 'cooperative'],
    ['exclusive', true, 'cooperative'],
    ['cooperative', false, 'cooperative'],
    ['cooperative', true, 'cooperative'],
    ['device-bounds', true, '-'],
    ['pasid', false, '-'],
    ['server', false, '-'],
  ])('of a function that offers %s, alone %s: %s', (isolation, exclusive, wanted) => {
    const answer = verdict({ ...asked, exclusive }, offered({ isolation }));
    if (wanted === '-') expect(answer).toBe('ISOLATION_UNAVAILABLE');
    else
      expect(answer).toMatchObject({
        isolation: wanted,
        exclusive: exclusive || isolation === 'exclusive',
      });
  });

  test('does for nobody who wants more than cooperative', () => {
    expect(verdict({ ...asked, isolation: 'server' }, offered())).toBe('ISOLATION_UNAVAILABLE');
  });

  const root = { ...facts.peer, uid: 0 };
  test.each<[string, Partial<AcquireRequest>, Partial<Facts>, ErrorCode, string]>([
    ['with no switch', {}, { switches: facts.switches }, 'DENIED', '--allow-process'],
    [
      'with one switch',
      {},
      { switches: { ...switches, allowCooperative: false } },
      'DENIED',
      'serve with --allow-cooperative',
    ],
    [
      'with the other',
      {},
      { switches: { ...switches, allowProcess: false } },
      'DENIED',
      '--allow-process',
    ],
    ['to whoever holds a descriptor', { holder: 'fd' }, {}, 'REVOCATION_UNAVAILABLE', 'holder'],
    ['to a VM monitor', { listen: true }, {}, 'REVOCATION_UNAVAILABLE', 'listen'],
    ['to the broker', {}, { brokerPid: facts.peer.pid }, 'DENIED', 'process of its own'],
    ['to root by who is not', {}, { peer: root }, 'DENIED', 'as the user of the broker'],
  ])('is not given %s', (_what, request, changed, code, hint) => {
    const answer = decide(
      { ...plain, ...asked, ...request },
      { ...facts, ...offered(), ...changed },
    );
    expect(answer).toMatchObject({ deny: true, code, hint: expect.stringContaining(hint) });
  });

  test('is given to root by root', () => {
    const both = { ...offered(), peer: root, brokerUid: 0 };
    expect(verdict(asked, both)).toMatchObject({ revocation: 'process' });
  });
});

describe('windows with which a holder can harm the kernel', () => {
  const harmful = { ...facts.offer, windows: { direct: true, harmful: true, combining: true } };

  test.each([
    [1000, true, false, true],
    [0, true, false, true],
    [1001, true, false, false],
    [1001, true, true, true],
    [1001, false, false, true],
  ])('uid %i, harmful %s, forced %s: mapped %s', (uid, isHarmful, forced, isMapped) => {
    const asked: Facts = {
      ...facts,
      peer: { ...facts.peer, uid },
      switches: { ...facts.switches, forceDmaBufWindows: forced },
      offer: isHarmful ? harmful : facts.offer,
    };
    const offered = offeredRevocations(plain, asked);
    expect(offered).toEqual(isMapped ? ['kernel', 'mediated'] : ['mediated']);
    const { hint } = revocationDenial({ ...plain, mapped: true }, asked, offered);
    expect(hint !== undefined).toBe(!isMapped);
  });

  test('are for those who are admitted today', () => {
    expect(verdict({}, { offer: harmful })).toMatchObject({ revocation: 'kernel' });
  });
});

describe('a lease for a VM monitor', () => {
  const listen = { listen: true };

  test.each<[Isolation, boolean, string]>([
    ['pasid', false, 'pasid'],
    ['pasid', true, 'pasid'],
    ['device-bounds', false, '-'],
    ['device-bounds', true, 'exclusive'],
    ['exclusive', false, 'exclusive'],
    ['exclusive', true, 'exclusive'],
    ['server', false, '-'],
    ['server', true, 'server'],
    ['cooperative', false, '-'],
    ['cooperative', true, 'exclusive'],
  ])('%s on offer, alone: %s: %s', (isolation, exclusive, wanted) => {
    const switches = { ...facts.switches, allowCooperative: true };
    const answer = verdict({ ...listen, exclusive }, { ...offering({ isolation }), switches });
    if (wanted === '-') expect(answer).toBe('ISOLATION_UNAVAILABLE');
    else expect(answer).toMatchObject({ isolation: wanted, listen: true });
  });

  test('says what to do about a shared address space', () => {
    const offered = offering({ isolation: 'device-bounds' });
    const answer = decide({ ...plain, ...listen }, { ...facts, ...offered });
    expect(answer).toMatchObject({ hint: expect.stringContaining('exclusive') });
  });

  test.each<[Revocation | undefined, readonly Revocation[], string]>([
    [undefined, ['kernel', 'mediated'], 'orphan'],
    ['orphan', ['kernel', 'mediated'], 'orphan'],
    ['kernel', ['kernel', 'mediated'], 'mediated'],
    ['mediated', ['kernel', 'mediated'], 'mediated'],
    ['kernel', ['kernel'], '-'],
    [undefined, ['mediated'], 'mediated'],
    [undefined, ['process'], '-'],
  ])('at least %s of %j: %s', (revocation, revocations, wanted) => {
    const answer = verdict({ ...listen, revocation }, offering({ revocations }));
    if (wanted === '-') expect(answer).toBe('REVOCATION_UNAVAILABLE');
    else expect(answer).toMatchObject({ revocation: wanted });
  });

  test.each<[Revocation | undefined, readonly Revocation[], string]>([
    [undefined, ['kernel', 'mediated'], 'mediated'],
    ['orphan', ['kernel', 'mediated'], 'mediated'],
    [undefined, ['kernel'], '-'],
  ])('on registers themselves, at least %s of %j: %s', (revocation, revocations, wanted) => {
    const windows = { direct: true, harmful: false, combining: false };
    const answer = verdict({ ...listen, revocation }, offering({ revocations, windows }));
    if (wanted === '-') expect(answer).toBe('REVOCATION_UNAVAILABLE');
    else expect(answer).toMatchObject({ revocation: wanted });
  });

  test('window bytes of a uid, at the limit and one window past it', () => {
    const used = (orphanBytesOfUid: number) => ({ usage: { ...facts.usage, orphanBytesOfUid } });
    const { orphanBytesPerUidMax } = limits;
    expect(verdict(listen, used(orphanBytesPerUidMax - 8192))).toMatchObject(listen);
    expect(verdict(listen, used(orphanBytesPerUidMax - 8191))).toBe('QUOTA_EXCEEDED');
    // Registers by message leave nothing with the holder.
    expect(
      verdict({ ...listen, revocation: 'mediated' }, used(orphanBytesPerUidMax)),
    ).toMatchObject({ revocation: 'mediated' });
    expect(verdict({}, used(orphanBytesPerUidMax))).toMatchObject({ listen: false });
  });

  test.each([
    [1000, 1000, true],
    [0, 1000, true],
    [1001, 1000, false],
    [1000, 0, false],
    [0, 0, true],
  ])('uid %i may use a lease of uid %i: %s', (peerUid, leaseUid, allowed) => {
    const denial = connectDenial(peerUid, leaseUid);
    expect(denial?.code).toBe(allowed ? undefined : 'DENIED');
  });
});

test.each([
  [1000, 1000, true],
  [0, 1000, true],
  [1001, 1000, false],
  [1000, 0, false],
])('a lease of uid %i may map a window of uid %i: %s', (mapperUid, windowUid, allowed) => {
  const denial = windowMapDenial(mapperUid, windowUid);
  expect(denial?.code).toBe(allowed ? undefined : 'DENIED');
  if (!allowed) expect(denial?.detail).toContain(`uid ${mapperUid} may not map`);
});

describe('who may renew and release', () => {
  const nobody = { uid: 1000, isAcquirer: false, isAdmin: false };
  test('the acquirer, root, and the operator', () => {
    expect(manageDenial(nobody)?.code).toBe('DENIED');
    expect(manageDenial({ ...nobody, isAcquirer: true })).toBeUndefined();
    expect(manageDenial({ ...nobody, isAdmin: true })).toBeUndefined();
    expect(manageDenial({ ...nobody, uid: 0 })).toBeUndefined();
  });
});
