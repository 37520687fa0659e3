// The rules of the house, each a function from files to complaints: "path:line what is wrong".
import { posix } from 'node:path';
import ts from 'typescript';
import { importsOf, lineOf, type SourceFile, type TypeScriptFile, walk } from './source-tree.js';

type Complaints = readonly string[];

/** In the order in which rooms may import each other: only from what stands before. */
export const rooms = [
  'base',
  'os',
  'uapi',
  'iommu',
  'device',
  'vfio-user',
  'varlink',
  'function',
  'driver',
  'policy',
  'lease',
  'client',
  'broker',
  'doctor',
  'demo',
  'cli',
  'index',
] as const;

const lineCharsMax = 100;
const fileLinesMax = 500;
const functionLinesMax = 70;
/** Packages that the rooms behind `client` may use at run time. */
const packagesBehindClient = ['commander'];

function orderOf(room: string): number {
  return rooms.indexOf(room as (typeof rooms)[number]);
}

/** The room that a relative import leads to. */
function targetOf(file: TypeScriptFile, specifier: string): string | undefined {
  const path = posix.join(posix.dirname(file.path), specifier);
  const [top, room = ''] = path.split('/');
  return top === 'src' ? room.replace(/\.js$/, '') : undefined;
}

/** Rooms import rooms above them; the broker is imported by demo, cli and the entry alone. */
export function importDirections(files: readonly TypeScriptFile[]): Complaints {
  return files.flatMap((file) => {
    const { room, path, isTest } = file;
    if (room === undefined || isTest) return [];
    if (orderOf(room) < 0) return [`${path}:1 ${room} is no room`];
    return importsOf(file).flatMap(({ specifier, line }) => {
      if (!specifier.startsWith('.')) return [];
      const target = targetOf(file, specifier);
      if (target === room) return [];
      const below = target === undefined || orderOf(target) < 0 || orderOf(target) > orderOf(room);
      return below ? [`${path}:${line} ${room} imports ${target ?? specifier}`] : [];
    });
  });
}

/** Packages at run time: none up to the client, few behind it. */
export function packageImports(files: readonly TypeScriptFile[]): Complaints {
  return files.flatMap((file) => {
    const { room, path, isTest } = file;
    if (room === undefined || isTest) return [];
    const allowed = orderOf(room) > orderOf('client') ? packagesBehindClient : [];
    return importsOf(file).flatMap(({ specifier, line, typeOnly }) => {
      const isOwn = specifier.startsWith('.') || specifier.startsWith('node:');
      if (isOwn || typeOnly || allowed.includes(specifier)) return [];
      return [`${path}:${line} ${room} imports the package ${specifier}`];
    });
  });
}

/** Only src/os loads the addon. */
export function addonLoads(files: readonly TypeScriptFile[]): Complaints {
  return files.flatMap((file) => {
    if (file.room === 'os' || file.path.startsWith('test/tidy')) return [];
    const at = file.text.search(/lessor\.node|process\.dlopen/);
    return at < 0 ? [] : [`${file.path}:${lineOf(file, at)} loads the addon`];
  });
}

const bannedCalls = ['Date.now', 'Math.random', 'setTimeout', 'setInterval'];
/** Reading a stopwatch is what the demo is for; elsewhere it is the clock's. */
const bannedOutsideDemo = ['performance.now', 'process.hrtime', 'process.hrtime.bigint'];

function bannedName(room: string, node: ts.Node): string | undefined {
  if (ts.isCallExpression(node)) {
    const called = node.expression.getText();
    const isBanned = bannedCalls.includes(called);
    return isBanned || (room !== 'demo' && bannedOutsideDemo.includes(called)) ? called : undefined;
  }
  if (!ts.isNewExpression(node)) return undefined;
  const made = node.expression.getText();
  const readsTime = made === 'Date' && (node.arguments ?? []).length === 0;
  return readsTime || made === 'Error' ? `new ${made}` : undefined;
}

/** Time and chance are parameters, and errors have kinds. */
export function bannedUses(files: readonly TypeScriptFile[]): Complaints {
  const complaints: string[] = [];
  for (const file of files) {
    const { room } = file;
    if (room === undefined || room === 'os' || file.isTest) continue;
    walk(file.tree, (node) => {
      const banned = bannedName(room, node);
      if (banned) complaints.push(`${file.path}:${lineOf(file, node.getStart())} ${banned}`);
    });
  }
  return complaints;
}

function isFunction(node: ts.Node): node is ts.FunctionLikeDeclaration {
  return ts.isFunctionLike(node) && 'body' in node && node.body !== undefined;
}

export function longFunctions(files: readonly TypeScriptFile[]): Complaints {
  const complaints: string[] = [];
  for (const file of files) {
    if (file.isTest) continue;
    walk(file.tree, (node) => {
      if (!isFunction(node)) return;
      const first = lineOf(file, node.getStart());
      const lines = lineOf(file, node.getEnd()) - first + 1;
      if (lines > functionLinesMax) complaints.push(`${file.path}:${first} ${lines} lines`);
    });
  }
  return complaints;
}

export function longFiles(files: readonly SourceFile[]): Complaints {
  return files.flatMap(({ path, text }) => {
    const lines = text.split('\n').length - 1;
    return lines > fileLinesMax ? [`${path}:1 ${lines} lines`] : [];
  });
}

/** Lines of a TypeScript file that a literal reaches over: nothing can break those. */
function literalLines(file: TypeScriptFile): Set<number> {
  const lines = new Set<number>();
  walk(file.tree, (node) => {
    const isText =
      ts.isStringLiteralLike(node) ||
      ts.isTemplateExpression(node) ||
      ts.isRegularExpressionLiteral(node);
    if (!isText) return;
    const last = lineOf(file, node.getEnd());
    for (let line = lineOf(file, node.getStart()); line <= last; line += 1) lines.add(line);
  });
  return lines;
}

export function longLines(files: readonly (SourceFile | TypeScriptFile)[]): Complaints {
  return files.flatMap((file) => {
    const lines = file.text.split('\n');
    const long = lines.flatMap((line, index) =>
      [...line].length > lineCharsMax ? [index + 1] : [],
    );
    const excused = long.length > 0 && 'tree' in file ? literalLines(file) : new Set<number>();
    return long
      .filter((line) => !excused.has(line))
      .map((line) => `${file.path}:${line} over ${lineCharsMax} columns`);
  });
}

/** Spelled in two halves, so that this file does not complain about itself. */
const unfinished = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X'].join('|')})\\b`);

/** What is not finished has no place here. */
export function leftovers(files: readonly SourceFile[]): Complaints {
  return files.flatMap(({ path, text }) =>
    text
      .split('\n')
      .flatMap((line, index) =>
        unfinished.test(line) ? [`${path}:${index + 1} ${line.trim()}`] : [],
      ),
  );
}

/** A file says in its first lines what lives in it. */
export function headers(files: readonly TypeScriptFile[]): Complaints {
  return files.flatMap(({ path, text, isTest }) => {
    if (isTest) return [];
    const body = text.replace(/^#!.*\n/, '');
    if (!body.startsWith('//')) return [`${path}:1 has no header`];
    const lines = body.split('\n').findIndex((line) => !line.startsWith('//'));
    return lines > 12 ? [`${path}:1 a header of ${lines} lines`] : [];
  });
}

export function fileNames(files: readonly SourceFile[]): Complaints {
  return files.flatMap(({ path }) => {
    const name = posix.basename(path);
    return /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z]+)+$/.test(name) ? [] : [`${path}:1 is not kebab-case`];
  });
}
