import { expect, test } from 'vitest';
import { repositoriesIn, sourceOf } from './apt.js';

const printed = `'mirror:/a/debian-security/dists/r-security/InRelease' x 0
'mirror:/a/debian/dists/r/InRelease' x 0
'mirror:/a/debian/dists/r-updates/InRelease' x 0
'mirror:/a/debian/dists/r/main/binary-amd64/Packages.xz' x 0
`;

test('repositories come from what apt would ask, security last', () => {
  expect(repositoriesIn(printed)).toEqual(['mirror:/a/debian', 'mirror:/a/debian-security']);
  expect(repositoriesIn('')).toEqual([]);
});

test('a source names repository and suites', () => {
  const text = sourceOf('mirror:/a/debian', ['r', 'r-backports']);
  expect(text).toContain('URIs: mirror:/a/debian\nSuites: r r-backports\nComponents: main\n');
});
