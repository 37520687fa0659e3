// The instrumented copy of what is compiled: rules and tests run in it with one check less.
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { rootPath } from '../tools/root.js';
import { instrument, type Mutation } from './find-checks.js';

/** What reads the bytes of a peer: the protocol, and the codecs that it leans on. */
const subject = 'src/vfio-user';
/** The device server judges what a device is asked, not what stands in a message. */
const left = ['src/vfio-user/device', 'src/vfio-user/testing'];
const codecs = ['src/uapi/fields.ts', 'src/uapi/region-caps.ts', 'src/uapi/struct.ts'];

/** With the folders in it, but for those that are left out. */
function sourcesIn(folder: string): string[] {
  return readdirSync(rootPath(folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return left.includes(path) ? [] : sourcesIn(path);
    return /(?<!\.test|\.d)\.ts$/.test(entry.name) ? [path] : [];
  });
}

/** Every mutation, and the code that has them, by file. */
export function allMutations(): { mutations: readonly Mutation[]; code: Map<string, string> } {
  const mutations: Mutation[] = [];
  const code = new Map<string, string>();
  for (const file of [...sourcesIn(subject), ...codecs].sort()) {
    const made = instrument(file, readFileSync(rootPath(file), 'utf8'), mutations.length);
    mutations.push(...made.mutations);
    if (made.mutations.length > 0) code.set(file, made.code);
  }
  return { mutations, code };
}

const vitestConfig = `
export default {
  test: {
    include: ['dist/src/vfio-user/**/*.test.js', 'dist/src/uapi/struct.test.js'],
    exclude: [
      '**/rules.test.js',
      '**/device/**',
      '**/reconnect-process.test.js',
      // Random bytes kill what they happen to hit.
      '**/hostile.test.js',
    ],
    setupFiles: ['dist/test/mutation/setup.js'],
    pool: 'threads',
    maxWorkers: 1,
    bail: 1,
    testTimeout: 5000,
  },
};
`;

/** Makes the copy in `folder`, which exists and is empty. */
export function makeCopy(folder: string, code: ReadonlyMap<string, string>): void {
  for (const part of ['dist/src', 'dist/test/mutation', 'dist/test/tools']) {
    cpSync(rootPath(part), join(folder, part), { recursive: true });
  }
  for (const part of ['node_modules', 'build', 'package.json', 'native']) {
    symlinkSync(rootPath(part), join(folder, part));
  }
  for (const [file, text] of code) {
    const path = join(folder, 'dist', file.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  writeFileSync(join(folder, 'vitest.config.mjs'), vitestConfig);
}
