// The clock of the machine keeps the contract.
import { systemClock } from './clock.js';
import { clockContract } from './testing/clock-contract.js';

clockContract(
  'the machine',
  systemClock,
  (durationMs) =>
    new Promise((resolve) => {
      systemClock.after(durationMs, () => resolve());
    }),
);
