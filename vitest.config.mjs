import { defineConfig } from 'vitest/config';

// Tests run from compiled output: a Worker cannot be started on a .ts file under Node 20.
const common = {
  pool: 'forks',
  server: { deps: { external: [/\/dist\/.*(?<!\.test)\.js$/] } },
  testTimeout: 20_000,
  hookTimeout: 20_000,
};

// A process keeps its arenas to its end and has room for few; files that count what other
// processes leave want a process to themselves as well.
const apart = [
  'dist/{bench,examples,test}/**/*.test.js',
  'dist/src/{broker,function/emulated,iommu/soft,vfio-user/device}/**/*.test.js',
];

export default defineConfig({
  test: {
    maxWorkers: 2,
    reporters: ['default'],
    projects: [
      { test: { ...common, name: 'apart', include: apart } },
      {
        // A process for each file would take longer than the files do.
        test: {
          ...common,
          name: 'together',
          include: ['dist/**/*.test.js'],
          exclude: apart,
          isolate: false,
        },
      },
    ],
  },
});
