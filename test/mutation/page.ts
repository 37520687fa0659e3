// The listing as a page: docs/internals/vfio-user-mutations.md.
import type { Mutation } from './find-checks.js';

export interface Row {
  readonly mutation: Mutation;
  readonly killedBy: string | undefined;
  /** Why no test can tell. */
  readonly reason: string | undefined;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

export function keyOf({ file, within, kind, text }: Mutation): string {
  return `${file} ${within} ${kind} ${text}`;
}

export function counts(rows: readonly Row[]): string {
  const killed = rows.filter(({ killedBy }) => killedBy !== undefined).length;
  const excused = rows.filter(({ reason }) => reason !== undefined).length;
  const survived = rows.length - killed - excused;
  return `${rows.length} checks, ${killed} killed, ${excused} that no test can tell, ${survived} survived`;
}

export function mutationPage(rows: readonly Row[]): string {
  const files = [...new Set(rows.map(({ mutation }) => mutation.file))];
  const sections = files.map((file) => {
    const lines = rows
      .filter(({ mutation }) => mutation.file === file)
      .map(({ mutation, killedBy, reason }) => {
        const { within, kind, text } = mutation;
        const verdict =
          killedBy ?? (reason === undefined ? '**SURVIVED**' : `no test can tell: ${reason}`);
        return `| ${cell(within)} | ${kind} | \`${cell(text.slice(0, 90))}\` | ${cell(verdict)} |`;
      });
    return [
      `## ${file}`,
      '',
      '| in | kind | taken away | test that fails |',
      '|---|---|---|---|',
      ...lines,
    ].join('\n');
  });
  const lead = [
    `${counts(rows)}. Written by \`npm run test:mutation\`, which takes away one check at a time, `,
    'of the protocol and of the codecs below it, and runs the [rules](vfio-user-rules.md) that reach it, ',
    'then the other tests of the room.',
  ].join('');
  const kinds = [
    '| kind | taken away |',
    '|---|---|',
    '| check | the whole condition that leads to a refusal |',
    '| part | one operand of it |',
    '| limit | `>` and `>=`, `<` and `<=` trade places |',
    '| refusal | a refusal that has no condition of its own |',
    '| close | a close of descriptors or of a connection |',
  ].join('\n');
  return ['# What the vfio-user tests notice', lead, kinds, ...sections].join('\n\n').concat('\n');
}
