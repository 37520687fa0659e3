import { describe, expect, test } from 'vitest';
import type { ErrorCode } from '../base/errors.js';
import type { Window } from '../function/types.js';
import type { Access, DmaMemory } from '../iommu/types.js';
import type { Fd } from '../os/fd.js';
import type { MemoryIdentity } from '../os/memory-types.js';
import { FakeFiles } from '../os/testing/fake-files.js';
import { type BookedWindow, WindowBook } from './window-book.js';

const holder = 1000;
const lengthBytes = 4096;
const memory = { fd: undefined, offsetBytes: 0 } satisfies DmaMemory;

function identity(change: Partial<MemoryIdentity> = {}): MemoryIdentity {
  return { device: 1n, inode: 7n, lengthBytes, access: 'read-write', ...change };
}

interface Booked {
  readonly access?: 'read-write' | 'read';
  readonly refusal?: ErrorCode;
  readonly isConnected?: boolean;
  readonly isDmaTarget?: boolean;
}

function setUp(booked: Booked = {}) {
  const book = new WindowBook();
  const window = {
    lengthBytes,
    isDmaTarget: booked.isDmaTarget ?? true,
    dmaMemory: booked.isConnected === false ? undefined : memory,
  } as Window;
  const entryOf: BookedWindow = {
    window,
    access: booked.access ?? 'read-write',
    leaseId: 'x',
    uid: holder,
    refusal: () => booked.refusal,
  };
  const entry = book.add(identity(), entryOf);
  const codeOf = (access: Access, found: MemoryIdentity = identity(), uid = holder): string => {
    try {
      return book.target(found, access, uid) === undefined ? 'none' : 'window';
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  return { book, entry, codeOf, booked: entryOf };
}

test('tells a window by device and inode, and only until it is struck out', () => {
  const { book, entry, codeOf } = setUp();
  expect(book.target(identity(), 'read-write', holder)).toEqual({ ...memory, lengthBytes });
  expect(codeOf('read', identity({ inode: 8n }))).toBe('none');
  expect(codeOf('read', identity({ device: 2n }))).toBe('none');
  // Its size is no part of who it is: the window's own counts.
  expect(codeOf('read', identity({ lengthBytes: 1 }))).toBe('window');
  entry[Symbol.dispose]();
  expect(codeOf('read')).toBe('none');
});

test('is for the same uid and root', () => {
  const { codeOf } = setUp();
  expect(codeOf('read', identity(), 0)).toBe('window');
  expect(codeOf('read', identity(), holder + 1)).toBe('DENIED');
});

test.each<[Access, 'read-write' | 'read', MemoryIdentity['access'], string]>([
  ['read-write', 'read-write', 'read-write', 'window'],
  ['write', 'read-write', 'read-write', 'window'],
  ['read', 'read-write', 'read', 'window'],
  ['write', 'read-write', 'read', 'MEMORY_READ_ONLY'],
  ['read-write', 'read-write', 'read', 'MEMORY_READ_ONLY'],
  ['read', 'read-write', 'write', 'MEMORY_READ_ONLY'],
  ['read', 'read', 'read', 'window'],
  ['read-write', 'read', 'read', 'MEMORY_READ_ONLY'],
  ['write', 'read', 'read-write', 'WINDOW_READ_ONLY'],
])('to %s a window of access %s by a descriptor for %s: %s', (access, window, mode, code) => {
  const { codeOf } = setUp({ access: window });
  expect(codeOf(access, identity({ access: mode }))).toBe(code);
});

test('says why there is nothing to map', () => {
  expect(setUp({ isDmaTarget: false }).codeOf('read')).toBe('UNSUPPORTED');
  expect(setUp({ refusal: 'LEASE_NOT_ENABLED', isConnected: false }).codeOf('read')).toBe(
    'LEASE_NOT_ENABLED',
  );
  // Memory space was enabled, and the window is still being connected.
  expect(setUp({ isConnected: false }).codeOf('read')).toBe('LEASE_NOT_ENABLED');
  expect(setUp({ refusal: 'LEASE_REVOKING' }).codeOf('read')).toBe('WINDOW_REVOKED');
  expect(setUp({ refusal: 'LEASE_ENDED' }).codeOf('read')).toBe('WINDOW_REVOKED');
});

describe('a window that is no memory', () => {
  const files = new FakeFiles();

  function setUpFile(booked: Booked = {}) {
    const { book, entry: other, booked: entryOf } = setUp(booked);
    other[Symbol.dispose]();
    const fd = files.create('other', 1);
    const entry = book.addFile(fd, entryOf);
    const codeOf = (access: Access, uid = holder, isSame = (own: Fd) => own === fd): string => {
      try {
        return book.fileTarget(isSame, access, uid) === undefined ? 'none' : 'window';
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    return { book, fd, entry, codeOf };
  }

  test('is told by its open file, and only until it is struck out or closed', () => {
    const { book, fd, entry, codeOf } = setUpFile();
    const found = book.fileTarget((own) => own === fd, 'read-write', holder);
    expect(found).toEqual({ ...memory, lengthBytes });
    expect(codeOf('read', holder, () => false)).toBe('none');
    expect(book.target(identity(), 'read', holder)).toBeUndefined();
    fd.close();
    expect(codeOf('read')).toBe('none');
    entry[Symbol.dispose]();
    const open = setUpFile();
    open.entry[Symbol.dispose]();
    expect(open.codeOf('read')).toBe('none');
  });

  test('is for whom and for what memory is', () => {
    expect(setUpFile().codeOf('read', 0)).toBe('window');
    expect(setUpFile().codeOf('read', holder + 1)).toBe('DENIED');
    expect(setUpFile({ access: 'read' }).codeOf('read')).toBe('window');
    expect(setUpFile({ access: 'read' }).codeOf('write')).toBe('WINDOW_READ_ONLY');
    expect(setUpFile({ isDmaTarget: false }).codeOf('read')).toBe('UNSUPPORTED');
    expect(setUpFile({ isConnected: false }).codeOf('read')).toBe('LEASE_NOT_ENABLED');
    expect(setUpFile({ refusal: 'LEASE_REVOKING' }).codeOf('read')).toBe('WINDOW_REVOKED');
  });
});
