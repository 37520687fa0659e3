// One rule of the protocol per test, both roles, in memory and on the kernel's own sockets.
import { describe, expect, it } from 'vitest';
import { protocolRules } from './testing/rules/all.js';
import { worlds } from './testing/world.js';

it('there are at least 200 rules, each with a name of its own', () => {
  const ids = protocolRules.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.length).toBeGreaterThanOrEqual(200);
  for (const id of ids) expect(id).toMatch(/^(server|client|device)\/[a-z-]+\/[a-z0-9-]+$/);
});

describe.each(worlds)('rules %s', (_name, createWorld) => {
  it.each(protocolRules)('$id', ({ run }) => run(createWorld));
});
