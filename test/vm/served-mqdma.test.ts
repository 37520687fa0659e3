import { expect, test } from 'vitest';
import { isListening } from '../interop/lab.js';
import { startServedMqdma } from './served-mqdma.js';

test('it is served until it is not wanted any more', { timeout: 60_000 }, async () => {
  const served = await startServedMqdma();
  expect(isListening(served.socketPath)).toBe(true);
  await served[Symbol.asyncDispose]();
  expect(isListening(served.socketPath)).toBe(false);
  expect(served.said).toBe('');
});
