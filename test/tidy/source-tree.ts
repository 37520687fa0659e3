// The files of the repository as the tidy test looks at them.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { rootPath } from '../tools/root.js';

export interface SourceFile {
  /** From the root of the repository. */
  readonly path: string;
  readonly text: string;
}

export interface TypeScriptFile extends SourceFile {
  readonly tree: ts.SourceFile;
  /** `base` for src/base/errors.ts, `index` for src/index.ts; undefined outside of src. */
  readonly room: string | undefined;
  /** A test, or what only tests use. */
  readonly isTest: boolean;
}

function pathsBelow(folder: string, endings: readonly string[]): string[] {
  const absolute = rootPath(folder);
  if (!existsSync(absolute)) return [];
  return readdirSync(absolute, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return pathsBelow(path, endings);
    return endings.some((ending) => entry.name.endsWith(ending)) ? [path] : [];
  });
}

/** Files below some folders, by the ends of their names. */
export function filesBelow(
  folders: readonly string[],
  endings: readonly string[],
): readonly SourceFile[] {
  return folders
    .flatMap((folder) => pathsBelow(folder, endings))
    .sort()
    .map((path) => ({ path, text: readFileSync(rootPath(path), 'utf8') }));
}

/** Files directly in the root. */
export function filesInRoot(endings: readonly string[]): readonly SourceFile[] {
  return readdirSync(rootPath('.'), { withFileTypes: true })
    .filter((entry) => entry.isFile() && endings.some((ending) => entry.name.endsWith(ending)))
    .map(({ name }) => ({ path: name, text: readFileSync(rootPath(name), 'utf8') }));
}

function roomOf(path: string): string | undefined {
  const [top, room = ''] = path.split('/');
  if (top !== 'src') return undefined;
  return room.replace(/\.ts$/, '');
}

/** A file in the form that the rules look at. */
export function parsed(file: SourceFile): TypeScriptFile {
  return {
    ...file,
    tree: ts.createSourceFile(file.path, file.text, ts.ScriptTarget.ES2022, true),
    room: roomOf(file.path),
    isTest: /\.test\.ts$|\/testing\/|^test\//.test(file.path),
  };
}

export function typeScriptFiles(): readonly TypeScriptFile[] {
  return filesBelow(['src', 'bench', 'test', 'examples'], ['.ts']).map(parsed);
}

/** Calls back for every node of a file. */
export function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => walk(child, visit));
}

/** Line of a node, from 1. */
export function lineOf(file: TypeScriptFile, position: number): number {
  return file.tree.getLineAndCharacterOfPosition(position).line + 1;
}

export interface Import {
  readonly specifier: string;
  readonly line: number;
  readonly typeOnly: boolean;
}

/** Static and dynamic imports, and re-exports, with a literal specifier. */
export function importsOf(file: TypeScriptFile): readonly Import[] {
  const found: Import[] = [];
  const add = (node: ts.Node, specifier: ts.Node | undefined, typeOnly: boolean): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return;
    found.push({ specifier: specifier.text, line: lineOf(file, node.getStart()), typeOnly });
  };
  walk(file.tree, (node) => {
    if (ts.isImportDeclaration(node)) {
      const typeOnly = node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
      add(node, node.moduleSpecifier, typeOnly);
    } else if (ts.isExportDeclaration(node)) {
      add(node, node.moduleSpecifier, node.isTypeOnly);
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node, node.arguments[0], false);
    }
  });
  return found;
}
