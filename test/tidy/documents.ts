// The rules for Markdown: titles, and links that lead somewhere.
import { existsSync } from 'node:fs';
import { posix } from 'node:path';
import { rootPath } from '../tools/root.js';
import type { SourceFile } from './source-tree.js';

/** Without fenced code, whose lines mean nothing here. */
function prose(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, (block) => block.replace(/[^\n]/g, ''));
}

/** One title, on the first line; no level is left out below it. */
export function titles(files: readonly SourceFile[]): readonly string[] {
  return files.flatMap(({ path, text }) => {
    const complaints: string[] = [];
    let level = 0;
    prose(text)
      .split('\n')
      .forEach((line, index) => {
        const marks = /^(#+) \S/.exec(line)?.[1]?.length;
        if (index === 0 && marks !== 1) complaints.push(`${path}:1 does not begin with a title`);
        if (marks === undefined) return;
        if (index > 0 && marks === 1) complaints.push(`${path}:${index + 1} a second title`);
        if (marks > level + 1) complaints.push(`${path}:${index + 1} leaves out a level`);
        level = marks;
      });
    if (!text.endsWith('\n')) complaints.push(`${path}:1 does not end with a line end`);
    return complaints;
  });
}

/** Links to files of the repository. */
export function deadLinks(files: readonly SourceFile[]): readonly string[] {
  return files.flatMap(({ path, text }) =>
    [...prose(text).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = '']) => {
      if (/^[a-z]+:|^#/.test(link)) return [];
      const target = posix.join(posix.dirname(path), link.replace(/#.*$/, ''));
      return existsSync(rootPath(target)) ? [] : [`${path}:1 links to ${link}`];
    }),
  );
}
