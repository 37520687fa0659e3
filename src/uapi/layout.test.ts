// Structs against what a C compiler says of them, and numbers pinned by hand.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as iommufd from './iommufd.js';
import type { Struct } from './struct.js';
import * as vfio from './vfio.js';
import * as vfioUser from './vfio-user.js';

type Described = Pick<Struct<unknown>, 'name' | 'sizeBytes' | 'offsets'>;

function isStruct(value: unknown): value is Described {
  return typeof value === 'object' && value !== null && 'offsets' in value;
}

function structsOf(module: object): Described[] {
  return Object.values(module).filter(isStruct);
}

/** What a header of any age declares. */
class HeaderText {
  readonly #text: string;

  constructor(header: string) {
    this.#text = readFileSync(`/usr/include/linux/${header}`, 'utf8');
  }

  /** The body of a struct; undefined where the header is too old for it. */
  bodyOf(struct: string): string | undefined {
    return new RegExp(`\\bstruct ${struct}\\s*\\{(.*?)\\n\\}`, 's').exec(this.#text)?.[1];
  }

  defines(name: string): boolean {
    return new RegExp(`\\b${name}\\b`).test(this.#text);
  }
}

function structChecks({ name, sizeBytes, offsets }: Described, text: HeaderText): string[] {
  const body = text.bodyOf(name);
  if (body === undefined) return [];
  const fields = Object.entries(offsets);
  const known = fields.filter(([field]) => new RegExp(`\\b${field}\\b`).test(body));
  const checks = known.map(([field, offset]) => {
    return `check("${name}.${field}", offsetof(struct ${name}, ${field}), ${offset});`;
  });
  if (known.length === fields.length) {
    checks.push(`check("${name}", sizeof(struct ${name}), ${sizeBytes});`);
  }
  return checks;
}

/** A program that prints a line for everything that the header defines otherwise. */
function programFor(header: string, module: object): string {
  const text = new HeaderText(header);
  const lines = structsOf(module).flatMap((codec) => structChecks(codec, text));
  for (const [name, value] of Object.entries(module)) {
    if (typeof value !== 'number' || !text.defines(name)) continue;
    lines.push(`check("${name}", (unsigned)${name}, ${value >>> 0}u);`);
  }
  const check = 'if (is != should) printf("%s is %ld, not %ld\\n", name, is, should);';
  return `#include <stddef.h>
#include <stdio.h>
#include <linux/${header}>
static void check(const char *name, long is, long should) { ${check} }
int main(void) { ${lines.join('\n')} puts("${lines.length} checks"); return 0; }
`;
}

function complaints(header: string, module: object): { count: number; lines: string[] } {
  const folder = mkdtempSync(join(tmpdir(), 'lessor-layout-'));
  try {
    const source = join(folder, 'layout.c');
    writeFileSync(source, programFor(header, module));
    const program = join(folder, 'layout');
    const compiled = spawnSync('cc', ['-o', program, source], { encoding: 'utf8' });
    if (compiled.status !== 0) return { count: 0, lines: [compiled.stderr] };
    const lines = spawnSync(program, { encoding: 'utf8' }).stdout.trim().split('\n');
    const count = Number.parseInt(lines.pop() ?? '0', 10);
    return { count, lines };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('layouts', () => {
  for (const [header, module, atLeast] of [
    ['vfio.h', vfio, 60],
    ['iommufd.h', iommufd, 40],
  ] as const) {
    const isThere = existsSync(`/usr/include/linux/${header}`);
    it.skipIf(!isThere)(`are those of linux/${header}`, () => {
      const { count, lines } = complaints(header, module);
      expect(lines).toEqual([]);
      expect(count).toBeGreaterThan(atLeast);
    });
  }

  it.each([
    [vfio.VFIO_DEVICE_GET_INFO, 0x3b6b],
    [vfio.VFIO_DEVICE_SET_IRQS, 0x3b6e],
    [vfio.VFIO_DEVICE_ATTACH_IOMMUFD_PT, 0x3b77],
    [iommufd.IOMMU_DESTROY, 0x3b80],
    [iommufd.IOMMU_IOAS_UNMAP, 0x3b86],
    [iommufd.IOMMU_HWPT_ALLOC, 0x3b89],
    [iommufd.IOMMU_IOAS_MAP_FILE, 0x3b8f],
  ])('ioctl %i is %i', (value, pinned) => {
    expect(value).toBe(pinned);
  });

  it.each([
    [iommufd.iommuIoasMap, 40, 'iova', 32],
    [iommufd.iommuIoasMapFile, 40, 'fd', 12],
    [iommufd.iommuIoasUnmap, 24, 'length', 16],
    [iommufd.iommuIoasIovaRanges, 32, 'allowed_iovas', 16],
    [iommufd.iommuHwptAlloc, 48, 'fault_id', 40],
    [vfio.vfioDeviceInfo, 24, 'cap_offset', 16],
    [vfio.vfioRegionInfo, 32, 'offset', 24],
    [vfio.vfioIrqSet, 20, 'count', 16],
    [vfioUser.header, 16, 'errno', 12],
    [vfioUser.dmaMap, 32, 'address', 16],
    [vfioUser.dmaUnmap, 24, 'size', 16],
    [vfioUser.regionAccess, 16, 'region', 8],
    [vfioUser.dmaAccess, 16, 'count', 8],
    [vfioUser.ioFdEntry, 40, 'datamatch', 32],
  ] as [Described, number, string, number][])('%o', (codec, sizeBytes, field, offset) => {
    expect(codec.sizeBytes).toBe(sizeBytes);
    expect(codec.offsets[field]).toBe(offset);
  });
});
