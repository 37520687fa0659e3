// What is tried of the container with a real device. Only in the test machine.
import { readFileSync, writeFileSync } from 'node:fs';
import { AssertionFailure, isLessorError, isOsError } from '../../../src/base/errors.js';
import { type Iova, MiB } from '../../../src/base/units.js';
import { openGroup } from '../../../src/function/vfio/group.js';
import { readIommuGroup } from '../../../src/function/vfio/group-members.js';
import type { Access } from '../../../src/iommu/types.js';
import { loadNative } from '../../../src/os/native.js';
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
} from '../../../src/uapi/vfio.js';
import { eduAddress } from '../edu-device.js';
import { account, createMemory, type Type1Rig } from './rig.js';

const pageBytes = 4096;
const transferBytes = 64;
const at = (bytes: number): Iova => bytes as Iova;

export interface Type1Case {
  readonly name: string;
  /** @throws AssertionFailure for what should not be */
  readonly run: (rig: Type1Rig) => Promise<void>;
}

function expect(condition: boolean, detail: string): asserts condition {
  if (!condition) throw new AssertionFailure(detail);
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (isLessorError(error)) return error.code;
    return isOsError(error) ? error.errno : String(error);
  }
  return 'none';
}

async function expectCode(promise: Promise<unknown>, code: string): Promise<void> {
  const found = await codeOf(promise);
  expect(found === code, `${found} instead of ${code}`);
}

/** One page of the first byte each, at addresses that the device can send. */
function fill(bytes: Uint8Array): void {
  for (let page = 0; page * pageBytes < bytes.length; page++) {
    bytes.fill(page + 1, page * pageBytes, (page + 1) * pageBytes);
  }
}

async function movesBothWays(rig: Type1Rig): Promise<void> {
  using memory = createMemory(rig.os, 4 * pageBytes);
  fill(memory.bytes);
  await using space = await rig.spaces.open({ pasid: undefined });
  const mapping = await space.map(
    { fd: memory.fd, offsetBytes: pageBytes },
    at(16 * MiB),
    2 * pageBytes,
    'read-write',
    account(),
  );
  await rig.copy(16 * MiB, 16 * MiB + pageBytes, transferBytes);
  const second = memory.bytes.subarray(2 * pageBytes, 2 * pageBytes + transferBytes);
  expect(
    second.every((byte) => byte === 2),
    'the device did not copy the second page',
  );
  expect(memory.bytes[2 * pageBytes + transferBytes] === 3, 'it copied too much');
  expect((await rig.refusals()).length === 0, 'the IOMMU refused something');
  await space.unmap(mapping);
}

async function refusesTheUnmapped(rig: Type1Rig): Promise<void> {
  using memory = createMemory(rig.os, pageBytes);
  memory.bytes.fill(7);
  await using space = await rig.spaces.open({ pasid: undefined });
  const where = at(32 * MiB);
  const source = { fd: memory.fd, offsetBytes: 0 };
  const mapping = await space.map(source, where, pageBytes, 'read-write', account());
  await rig.read(where, transferBytes);
  await space.unmap(mapping);
  memory.bytes.fill(9);
  const [refusal] = await rig.refusalsOf(() => rig.write(where, transferBytes));
  expect(refusal?.access === 'write' && refusal.iova === where, 'no word of the refused write');
  expect(refusal.requester === eduAddress, `a refusal of ${refusal.requester}`);
  expect(
    memory.bytes.every((byte) => byte === 9),
    'a byte moved',
  );
}

/**
 * Of each kind of map one page for what it admits, one for what it does not: QEMU logs no refusal
 * that it knows of by a translation it has kept.
 */
async function admitsNoMoreThanMapped(rig: Type1Rig): Promise<void> {
  using memory = createMemory(rig.os, 4 * pageBytes);
  memory.bytes.fill(5);
  await using space = await rig.spaces.open({ pasid: undefined });
  const source = (page: number) => ({ fd: memory.fd, offsetBytes: page * pageBytes });
  await space.map(source(0), at(16 * MiB), 2 * pageBytes, 'read', account());
  await space.map(source(2), at(32 * MiB), 2 * pageBytes, 'write', account());
  await rig.copy(16 * MiB, 32 * MiB, transferBytes);
  expect((await rig.refusals()).length === 0, 'what was mapped was refused');
  memory.bytes.fill(6);
  const [write] = await rig.refusalsOf(() => rig.write(16 * MiB + pageBytes, transferBytes));
  expect(write?.access === 'write', 'a write to what may be read was not refused');
  expect(
    memory.bytes.every((byte) => byte === 6),
    'a byte moved',
  );
  const [read] = await rig.refusalsOf(() => rig.read(32 * MiB + pageBytes, transferBytes));
  expect(read?.access === 'read', 'a read of what may be written was not refused');
}

async function unmapsWhileInUse(rig: Type1Rig): Promise<void> {
  using memory = createMemory(rig.os, pageBytes);
  await using space = await rig.spaces.open({ pasid: undefined });
  const where = at(48 * MiB);
  const source = { fd: memory.fd, offsetBytes: 0 };
  const mapping = await space.map(source, where, pageBytes, 'read-write', account());
  const transfer = rig.write(where, pageBytes);
  await space.unmap(mapping);
  memory.bytes.fill(3);
  await transfer;
  const refusals = await rig.refusalsOf(() => rig.write(where, pageBytes));
  expect(refusals.length > 0, 'nothing was refused');
  expect(
    memory.bytes.every((byte) => byte === 3),
    'a byte moved after the unmap',
  );
}

async function keepsSharesApart(rig: Type1Rig): Promise<void> {
  using memory = createMemory(rig.os, 3 * pageBytes);
  fill(memory.bytes);
  const source = (page: number) => ({ fd: memory.fd, offsetBytes: page * pageBytes });
  await using kept = await rig.spaces.open({ pasid: undefined });
  const gone = await rig.spaces.open({ pasid: undefined });
  await kept.map(source(0), at(16 * MiB), pageBytes, 'read-write', account());
  await gone.map(source(1), at(17 * MiB), pageBytes, 'read-write', account());
  const taken = kept.map(source(2), at(17 * MiB), pageBytes, 'read', account());
  await expectCode(taken, 'IOVA_OVERLAP');
  await gone[Symbol.asyncDispose]();
  await rig.read(16 * MiB, transferBytes);
  expect((await rig.refusals()).length === 0, 'the other share lost its memory');
  const before = memory.bytes.slice(pageBytes, 2 * pageBytes);
  const refusals = await rig.refusalsOf(() => rig.write(17 * MiB, transferBytes));
  expect(refusals.length > 0, 'nothing was refused of a closed share');
  const after = memory.bytes.subarray(pageBytes, 2 * pageBytes);
  expect(Buffer.compare(before, after) === 0, 'memory of a closed share is reached');
  await expectCode(rig.spaces.open({ pasid: 1 }), 'UNSUPPORTED');
}

async function mapsInChunks(rig: Type1Rig): Promise<void> {
  const lengthBytes = 150 * MiB;
  using memory = createMemory(rig.os, lengthBytes);
  await using space = await rig.spaces.open({ pasid: undefined });
  const base = 16 * MiB;
  const lease = account();
  const source = { fd: memory.fd, offsetBytes: 0 };
  const mapping = await space.map(source, at(base), lengthBytes, 'read-write', lease);
  const places = [0, 64 * MiB - transferBytes / 2, 128 * MiB, lengthBytes - transferBytes];
  for (const [index, place] of places.entries()) {
    memory.bytes.fill(index + 1, place, place + transferBytes);
    await rig.copy(base + place, base + 32 * MiB, transferBytes);
    const moved = memory.bytes.subarray(32 * MiB, 32 * MiB + transferBytes);
    expect(
      moved.every((byte) => byte === index + 1),
      `byte ${place} did not arrive`,
    );
  }
  expect((await rig.refusals()).length === 0, 'the IOMMU refused something');
  await space.unmap(mapping);
  expect(lease.placedBytes === 0, 'the lease is still charged');
}

/** Clients can cut off what they have not sealed: nobody crashes. */
async function survivesTruncation(rig: Type1Rig): Promise<void> {
  using memory = createMemory(rig.os, 2 * pageBytes);
  await using space = await rig.spaces.open({ pasid: undefined });
  const source = { fd: memory.fd, offsetBytes: 0 };
  const tooMuch = space.map(source, at(16 * MiB), 4 * pageBytes, 'read-write', account());
  await expectCode(tooMuch, 'MEMORY_TOO_SMALL');
  await space.map(source, at(16 * MiB), 2 * pageBytes, 'read-write', account());
  memory.bytes.fill(1);
  await rig.read(16 * MiB + pageBytes, transferBytes);
  rig.os.memory.truncate(memory.fd, 0);
  // What is pinned stays, and is nobody's but the device's.
  await rig.write(16 * MiB, transferBytes);
  await rig.read(16 * MiB + pageBytes, transferBytes);
  expect((await rig.refusals()).length === 0, 'pinned memory is out of reach');
  await expectCode(
    space.map(source, at(17 * MiB), pageBytes, 'read', account()),
    'MEMORY_TOO_SMALL',
  );
}

async function refusesBadPlaces(rig: Type1Rig): Promise<void> {
  using memory = createMemory(rig.os, pageBytes);
  await using space = await rig.spaces.open({ pasid: undefined });
  const map = (iova: number, lengthBytes = pageBytes, access: Access = 'read-write') =>
    space.map({ fd: memory.fd, offsetBytes: 0 }, at(iova), lengthBytes, access, account());
  await map(16 * MiB);
  await expectCode(map(16 * MiB), 'IOVA_OVERLAP');
  // Where interrupts go.
  await expectCode(map(0xfee0_0000), 'IOVA_OUTSIDE_WINDOW');
  await expectCode(map(17 * MiB, 100), 'IOVA_UNALIGNED');
  using reading = rig.os.memory.reopenReadOnly(memory.fd);
  const source = { fd: reading, offsetBytes: 0 };
  await space.map(source, at(18 * MiB), pageBytes, 'read', account());
  const written = space.map(source, at(19 * MiB), pageBytes, 'write', account());
  await expectCode(written, 'MEMORY_READ_ONLY');
}

const MFD_CLOEXEC = 1;
const MFD_HUGETLB = 4;
const hugePageBytes = 2 * MiB;

async function mapsHugePagesWhole(rig: Type1Rig): Promise<void> {
  writeFileSync('/proc/sys/vm/nr_hugepages', '2');
  const native = loadNative();
  const number = native.memfdCreate('lessor-huge', MFD_CLOEXEC | MFD_HUGETLB);
  using fd = rig.os.ioctl.adopt(number);
  rig.os.memory.truncate(fd, 2 * hugePageBytes);
  await using space = await rig.spaces.open({ pasid: undefined });
  const map = (offsetBytes: number, lengthBytes: number) =>
    space.map({ fd, offsetBytes }, at(16 * MiB), lengthBytes, 'read-write', account());
  await expectCode(map(0, pageBytes), 'IOVA_UNALIGNED');
  await expectCode(map(pageBytes, hugePageBytes), 'IOVA_UNALIGNED');
  await map(hugePageBytes, hugePageBytes);
  await rig.write(16 * MiB + hugePageBytes - transferBytes, transferBytes);
  expect((await rig.refusals()).length === 0, 'the IOMMU refused something');
}

/** A dma-buf of the device's own registers: nobody could take it back out of the container. */
async function refusesRegisters(rig: Type1Rig): Promise<void> {
  const words = new Uint32Array([
    ...[40, VFIO_DEVICE_FEATURE_DMA_BUF | VFIO_DEVICE_FEATURE_GET],
    ...[0, 0x80002, 0, 1],
    ...[0, 0, pageBytes, 0],
  ]);
  const bytes = new Uint8Array(words.buffer);
  using fd = rig.os.ioctl.adopt(rig.os.ioctl.ioctl(rig.deviceFd, VFIO_DEVICE_FEATURE, bytes));
  await using space = await rig.spaces.open({ pasid: undefined });
  const map = space.map({ fd, offsetBytes: 0 }, at(16 * MiB), pageBytes, 'read-write', account());
  await expectCode(map, 'UNSUPPORTED');
}

async function isAlone(rig: Type1Rig): Promise<void> {
  const group = readIommuGroup(eduAddress);
  const again = async () => openGroup({ os: rig.os.ioctl, address: eduAddress, group });
  await expectCode(again(), 'FUNCTION_BUSY');
}

async function pinsNothingAfterwards(rig: Type1Rig): Promise<void> {
  const lockedBytes = /VmLck:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  using memory = createMemory(rig.os, MiB);
  const space = await rig.spaces.open({ pasid: undefined });
  const source = { fd: memory.fd, offsetBytes: 0 };
  await space.map(source, at(16 * MiB), MiB, 'read-write', account());
  const during = /VmLck:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  expect(Number(during) === Number(lockedBytes) + 1024, `${during} kB are locked`);
  await space[Symbol.asyncDispose]();
  const after = /VmLck:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  expect(after === lockedBytes, `${after} kB are locked afterwards`);
}

export const type1Cases: readonly Type1Case[] = [
  { name: 'DMA moves both ways between device and memory', run: movesBothWays },
  { name: 'DMA to what was unmapped is refused and logged', run: refusesTheUnmapped },
  { name: 'the device may do what was mapped, and nothing else', run: admitsNoMoreThanMapped },
  { name: 'memory in use is unmapped', run: unmapsWhileInUse },
  { name: 'leases share the address space and end apart', run: keepsSharesApart },
  { name: 'a large map is done in chunks', run: mapsInChunks },
  { name: 'a client that truncates its memory harms nobody', run: survivesTruncation },
  { name: 'addresses and descriptors are judged', run: refusesBadPlaces },
  { name: 'huge pages are mapped whole', run: mapsHugePagesWhole },
  { name: 'registers of a function are refused', run: refusesRegisters },
  { name: 'what is mapped is pinned, and charged to the process', run: pinsNothingAfterwards },
  { name: 'nobody else opens the group', run: isAlone },
];

const lockedLeftBytes = 256 * 1024;

/** For a process that may lock little. */
export const restrictedCases: readonly Type1Case[] = [
  {
    name: 'a map over RLIMIT_MEMLOCK is refused as a whole, and smaller ones go on',
    run: async (rig) => {
      using memory = createMemory(rig.os, 8 * MiB);
      await using space = await rig.spaces.open({ pasid: undefined });
      const lease = account();
      const map = (lengthBytes: number) =>
        space.map({ fd: memory.fd, offsetBytes: 0 }, at(16 * MiB), lengthBytes, 'read', lease);
      await expectCode(map(8 * MiB), 'QUOTA_EXCEEDED');
      expect(lease.placedBytes === 0, 'the lease is still charged');
      await map(lockedLeftBytes);
    },
  },
];
