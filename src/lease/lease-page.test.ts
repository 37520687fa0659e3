import { expect, test } from 'vitest';
import { leaseDiagram, leasePage } from './lease-page.js';
import { leaseEventTypes, leaseStates, reclaimPhases } from './types.js';

test('the diagram shows every state', () => {
  const words = new Set(leaseDiagram().split(/[^a-z]+/));
  for (const state of leaseStates) expect(words.has(state)).toBe(true);
});

test('the page tells every event and every phase', () => {
  const page = leasePage();
  for (const type of leaseEventTypes) expect(page).toContain(`| \`${type}\` |`);
  for (const phase of reclaimPhases) expect(page).toContain(`**${phase}**`);
});
