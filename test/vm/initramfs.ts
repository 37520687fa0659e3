// The guest's first file system: a static busybox and our init, nothing else.
import { readFileSync } from 'node:fs';
import { rootPath } from '../tools/root.js';
import { type CpioEntry, cpioArchive } from './cpio.js';
import type { KernelTree } from './kernel-tree.js';

const folders = ['bin', 'dev', 'proc', 'sys', 'share', 'host', 'layer', 'all', 'new'];

/** The archive to give to QEMU as -initrd. */
export function initramfs({ busybox }: Pick<KernelTree, 'busybox'>): Buffer {
  const file = (path: string, from: string): CpioEntry => ({
    kind: 'file',
    path,
    permissions: 0o755,
    bytes: readFileSync(from),
  });
  return cpioArchive([
    ...folders.map((path) => ({ kind: 'folder', path, permissions: 0o755 }) as const),
    // Init's own output needs it before there is a devtmpfs.
    { kind: 'character-device', path: 'dev/console', permissions: 0o600, major: 5, minor: 1 },
    file('bin/busybox', busybox),
    file('init', rootPath('test/vm/init.sh')),
    file('supervise', rootPath('test/vm/supervise.sh')),
  ]);
}
