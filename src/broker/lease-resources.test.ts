// A grant that comes too late: what it made is given back.
import { expect, test } from 'vitest';
import type { Window } from '../function/types.js';
import type { BrokerContext } from './context.js';
import { LeaseResources } from './lease-resources.js';
import type { LeaseTerms } from './lease-terms.js';

interface Gate {
  readonly promise: Promise<void>;
  open(): void;
}

function gate(): Gate {
  let open: () => void = () => undefined;
  const promise = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { promise, open: () => open() };
}

function setUp(waits: { window?: Gate; grant?: Gate; close?: Gate }) {
  const calls: string[] = [];
  const window = {
    onTruncated: () => ({ [Symbol.dispose]: () => undefined }),
    [Symbol.asyncDispose]: async () => void calls.push('window closed'),
  } as unknown as Window;
  const space = {
    onMemoryGone: () => ({ [Symbol.dispose]: () => undefined }),
    [Symbol.asyncDispose]: async () => {
      await waits.close?.promise;
      calls.push('space closed');
    },
  };
  const fn = {
    info: { iovaPageBytes: 4096 },
    dma: { open: async () => space },
    openWindow: async () => {
      await waits.window?.promise;
      calls.push('window made');
      return window;
    },
  };
  const slice = {
    grant: async () => {
      calls.push('grant');
      await waits.grant?.promise;
      calls.push('granted');
    },
    permitDma: async () => void calls.push('permit'),
    ungrant: async () => void calls.push('ungranted'),
  };
  const context = { fn, os: { memory: {}, events: {} } } as unknown as BrokerContext;
  const terms = {
    id: 'x',
    slice,
    layout: { backings: [{}, {}] },
    iovaWindow: { base: 0, lengthBytes: 4096 },
    vectorList: [],
  } as unknown as LeaseTerms;
  return {
    calls,
    resources: new LeaseResources(context, terms, {
      onBroken: () => undefined,
      shareRefusal: () => undefined,
    }),
  };
}

test('a window that was made after the end is closed', async () => {
  const late = gate();
  const { calls, resources } = setUp({ window: late });
  const opening = resources.open();
  await new Promise(setImmediate);
  await resources.ungrant();
  await resources.close();
  expect(calls).toEqual(['space closed']);
  late.open();
  await expect(opening).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  expect(calls).toEqual(['space closed', 'window made', 'window closed']);
  expect(resources.windows).toEqual([]);
});

test('a grant that is late is waited for before it is taken back', async () => {
  const late = gate();
  const { calls, resources } = setUp({ grant: late });
  const opening = resources.open();
  opening.catch(() => undefined);
  await new Promise(setImmediate);
  const ungranting = resources.ungrant();
  const closing = resources.close();
  await new Promise(setImmediate);
  expect(calls).not.toContain('ungranted');
  late.open();
  await ungranting;
  await closing;
  await expect(opening).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  expect(calls.filter((call) => /grant/.test(call))).toEqual(['grant', 'granted', 'ungranted']);
  expect(calls).not.toContain('permit');
});

test('what was in quarantine is given back only when the device has acknowledged', async () => {
  const acknowledged = gate();
  const { calls, resources } = setUp({ close: acknowledged });
  await resources.open();
  let done = false;
  const reclaim = resources.close();
  const giving = resources.giveBack().then(() => {
    done = true;
  });
  await new Promise(setImmediate);
  expect(calls).toContain('ungranted');
  expect(done).toBe(false);
  acknowledged.open();
  await Promise.all([reclaim, giving]);
  expect(calls).toContain('space closed');
});
