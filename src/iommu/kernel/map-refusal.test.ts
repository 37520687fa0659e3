import { describe, expect, it } from 'vitest';
import { OsError } from '../../base/errors.js';
import { createMemoryOs } from '../../os/memory.js';
import { loadNative } from '../../os/native.js';
import { createOs } from '../../os/os.js';
import { mapRefusal } from './map-refusal.js';

const native = loadNative();
const memory = createMemoryOs(native);
const refusal = new OsError('EINVAL', 'IOMMU_IOAS_MAP_FILE');

describe('a map that the kernel refused', () => {
  it('is of memory that is too small, from the first byte on', () => {
    using fd = memory.create('lessor-test', 8192);
    const at = (start: bigint, length: bigint): unknown =>
      mapRefusal(memory, { fd, start, length }, refusal);
    expect(at(4096n, 4096n)).toBe(refusal);
    expect(at(4096n, 4097n)).toMatchObject({ code: 'MEMORY_TOO_SMALL' });
    expect(at(1n << 63n, 1n << 63n)).toMatchObject({ code: 'MEMORY_TOO_SMALL' });
  });

  it('keeps its reason where the descriptor is no memory that has a size', () => {
    using fd = createOs(native).events.createEventFd();
    expect(mapRefusal(memory, { fd, start: 0n, length: 4096n }, refusal)).toBe(refusal);
  });

  it('keeps any other reason', () => {
    using fd = memory.create('lessor-test', 0);
    const other = new OsError('ENOMEM', 'IOMMU_IOAS_MAP_FILE');
    expect(mapRefusal(memory, { fd, start: 0n, length: 4096n }, other)).toBe(other);
  });
});
