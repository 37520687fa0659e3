import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { leaseDiagram, leasePage } from './lease-page.js';
import { leaseStates } from './types.js';

test('the page in docs is the one that the table gives', () => {
  const url = new URL('../../../docs/concepts/lease-states.md', import.meta.url);
  expect(readFileSync(url, 'utf8')).toBe(leasePage());
});

test('the diagram shows every state', () => {
  const words = new Set(leaseDiagram().split(/[^a-z]+/));
  for (const state of leaseStates) expect(words.has(state)).toBe(true);
});
