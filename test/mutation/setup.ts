// Loaded before each test file of the instrumented copy when vitest runs there: takes the check
// away that LESSOR_MUTATION names, or notes what the file reaches.
import { appendFileSync } from 'node:fs';
import { afterAll, expect } from 'vitest';
import { install, nothing, takeAway, takeReached } from './reach.js';

install();
takeAway(Number(process.env.LESSOR_MUTATION ?? nothing));

const reachPath = process.env.LESSOR_MUTATION_REACH;

afterAll(() => {
  const { testPath } = expect.getState();
  if (reachPath === undefined) return;
  appendFileSync(reachPath, `${JSON.stringify({ testPath, reached: [...takeReached()] })}\n`);
});
