// What a C compiler says of structs and constants, against what the codecs of src/uapi say.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Struct } from '../../src/uapi/struct.js';

type Described = Pick<Struct<unknown>, 'name' | 'sizeBytes' | 'offsets'>;

/** A header and the module that stands for it. */
export interface HeaderModule {
  /** As in an #include, for example `linux/vfio.h`. */
  readonly header: string;
  readonly module: object;
  /** Names of the kernel for fields that have one of ours: "struct.field" of ours to theirs. */
  readonly aliases?: Readonly<Record<string, readonly string[]>>;
  /** Structs of ours that the kernel has no name for. */
  readonly unnamed?: readonly string[];
}

export interface LayoutReport {
  readonly checkCount: number;
  /** Where the header says otherwise. */
  readonly wrong: readonly string[];
  /** What the header does not have. */
  readonly missing: readonly string[];
}

function isStruct(value: unknown): value is Described {
  return typeof value === 'object' && value !== null && 'offsets' in value;
}

function structsOf(module: object): Described[] {
  const values = Object.values(module).flatMap((value) => {
    const isTable = typeof value === 'object' && value !== null && !isStruct(value);
    return isTable ? Object.values(value) : [value];
  });
  return values.filter(isStruct);
}

/** What a header of any age declares, comments left out. */
export class HeaderText {
  readonly #text: string;

  constructor(path: string) {
    this.#text = readFileSync(path, 'utf8').replace(/\/\*.*?\*\//gs, '');
  }

  /** The body of a struct; undefined where the header is too old for it. */
  bodyOf(struct: string): string | undefined {
    return new RegExp(`\\bstruct ${struct}\\s*\\{(.*?)\\n\\}`, 's').exec(this.#text)?.[1];
  }

  defines(name: string): boolean {
    return new RegExp(`\\b${name}\\b`).test(this.#text);
  }

  get structs(): string[] {
    return [...this.#text.matchAll(/\bstruct (\w+)\s*\{/g)].map(([, name]) => name as string);
  }

  /** Macros and enumerators in capitals. */
  get constants(): string[] {
    const macros = this.#text.matchAll(/#\s*define\s+([A-Z]\w+)[ \t]+[^\n]/g);
    const enumerators = this.#text.matchAll(/^\s*([A-Z][A-Za-z0-9_]+)\s*(?:=[^;\n]*)?,\s*$/gm);
    return [...macros, ...enumerators].map(([, name]) => name as string);
  }
}

interface Check {
  readonly name: string;
  readonly line: string | undefined;
}

/** Padding that C adds by itself has a name only in the codec. */
function isPadding(field: string): boolean {
  return field.startsWith('_padding') || field === '_rest';
}

function structChecks(codec: Described, text: HeaderText, source: HeaderModule): Check[] {
  const { name, sizeBytes, offsets } = codec;
  // A member of a union has its fields behind a dot.
  const [struct = name, member] = name.split('.');
  const body = text.bodyOf(struct);
  const has = (field: string) => body !== undefined && new RegExp(`\\b${field}\\b`).test(body);
  const fields = Object.entries(offsets).filter(([field]) => !isPadding(field));
  const checks = fields.flatMap(([field, offset]) => {
    const names = source.aliases?.[`${name}.${field}`] ?? [field];
    return names.map((theirs): Check => {
      const inMember =
        member !== undefined && !['size', 'op', 'id', '__reserved', 'last'].includes(theirs);
      const path = inMember ? `${member}.${theirs.replace(/^.*\./, '')}` : theirs;
      const line = `check("${name}.${field}", offsetof(struct ${struct}, ${path}), ${offset});`;
      const isThere = has(theirs.replace(/^.*\./, ''));
      return { name: `${name}.${field}`, line: isThere ? line : undefined };
    });
  });
  const whole = checks.every(({ line }) => line !== undefined);
  const line = `check("${name}", sizeof(struct ${struct}), ${sizeBytes});`;
  return [...checks, { name, line: whole ? line : undefined }];
}

function constantChecks(source: HeaderModule, text: HeaderText): Check[] {
  return Object.entries(source.module).flatMap(([name, value]) => {
    if (typeof value !== 'number' || !/^_*[A-Z]/.test(name)) return [];
    const line = `check("${name}", (unsigned)${name}, ${value >>> 0}u);`;
    return [{ name, line: text.defines(name) ? line : undefined }];
  });
}

function compileAndRun(source: string, includeFolder: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'lessor-layout-'));
  try {
    const file = join(folder, 'layout.c');
    writeFileSync(file, source);
    const program = join(folder, 'layout');
    const flags = ['-I', includeFolder, '-o', program, file];
    const compiled = spawnSync('cc', flags, { encoding: 'utf8' });
    if (compiled.status !== 0) return [compiled.stderr];
    const { stdout, status } = spawnSync(program, { encoding: 'utf8' });
    const lines = stdout.split('\n').filter((line) => line !== '');
    return status === 0 ? lines : [...lines, `the program ended with ${status}`];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Compares everything that a module has in common with its header. */
export function compareLayouts(source: HeaderModule, includeFolder: string): LayoutReport {
  const text = new HeaderText(join(includeFolder, source.header));
  const structs = structsOf(source.module).filter(({ name }) => !source.unnamed?.includes(name));
  const checks = [
    ...structs.flatMap((codec) => structChecks(codec, text, source)),
    ...constantChecks(source, text),
  ];
  const lines = checks.flatMap(({ line }) => line ?? []);
  const print = 'if (is != should) printf("%s is %ld, not %ld\\n", name, is, should);';
  const program = `#include <stddef.h>
#include <stdio.h>
#include <${source.header}>
static void check(const char *name, long is, long should) { ${print} }
int main(void) { ${lines.join('\n')} return 0; }
`;
  return {
    checkCount: lines.length,
    wrong: compileAndRun(program, includeFolder),
    missing: checks.filter(({ line }) => line === undefined).map(({ name }) => name),
  };
}

/** Structs and constants of the header that the module has not, but for those of `leftOut`. */
export function notInModule(
  source: HeaderModule,
  includeFolder: string,
  leftOut: readonly RegExp[],
): string[] {
  const text = new HeaderText(join(includeFolder, source.header));
  const ours = new Set([
    ...structsOf(source.module).map(({ name }) => name.split('.')[0]),
    ...Object.keys(source.module),
  ]);
  const theirs = [...text.structs, ...text.constants];
  return theirs.filter((name) => !ours.has(name) && !leftOut.some((left) => left.test(name)));
}

/** True when the folder has the header. */
export function hasHeader(includeFolder: string, header: string): boolean {
  return existsSync(join(includeFolder, header));
}
