import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { busyboxIn } from './build-kernel.js';

test('busybox is found where either release of Debian has it', () => {
  for (const path of ['bin/busybox', 'usr/bin/busybox']) {
    const root = mkdtempSync(join(tmpdir(), 'lessor-busybox-'));
    try {
      expect(() => busyboxIn(root)).toThrow('there is no busybox');
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), '');
      expect(busyboxIn(root)).toBe(join(root, path));
    } finally {
      rmSync(root, { recursive: true });
    }
  }
});
