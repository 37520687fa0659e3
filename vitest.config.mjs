import { defineConfig } from 'vitest/config';

// Tests run from compiled output: a Worker cannot be started on a .ts file under Node 20.
export default defineConfig({
  test: {
    include: ['dist/**/*.test.js'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 20_000,
    reporters: ['default'],
  },
});
