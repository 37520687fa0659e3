// The words and paths that a guest is given, as a shell reads them.

const nameOfVariable = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** Where the guest has folders of its own, so that the host's are not seen. */
const freshFolders = ['/tmp', '/run', '/dev', '/proc', '/sys'];

/** One word of a shell's command line, whatever is in it. */
export function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** NAME=VALUE in two. @throws RangeError when it is not of this form. */
export function variableIn(text: string): readonly [name: string, value: string] {
  const at = text.indexOf('=');
  const name = text.slice(0, Math.max(at, 0));
  if (!nameOfVariable.test(name)) throw new RangeError(`${text} is not NAME=VALUE`);
  return [name, text.slice(at + 1)];
}

export interface GuestCommand {
  readonly words: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

/** The script that becomes the command. */
export function startScript({ words, cwd, env }: GuestCommand): string {
  const exports = Object.entries(env).map(([name, value]) => {
    variableIn(`${name}=${value}`);
    return `export ${name}=${quoted(value)}`;
  });
  const lines = [
    'exec </dev/null',
    ...exports,
    `cd ${quoted(cwd)} || exit 125`,
    `exec ${words.map(quoted).join(' ')}`,
  ];
  return `${lines.join('\n')}\n`;
}

function isInside(path: string, folder: string): boolean {
  return path.startsWith(`${folder}/`);
}

/**
 * The folders that must be brought through because a fresh one would hide them.
 *
 * @param paths - Absolute, without links.
 * @throws RangeError when a path cannot be brought through.
 */
export function hiddenFolders(paths: readonly string[]): readonly string[] {
  const hidden = [...new Set(paths)].filter((path) =>
    freshFolders.some((fresh) => isInside(path, fresh)),
  );
  const odd = hidden.find((path) => path.includes('\n') || path.includes('\\'));
  if (odd !== undefined) throw new RangeError(`${JSON.stringify(odd)} cannot be seen in the guest`);
  return hidden.filter((path) => !hidden.some((other) => isInside(path, other))).sort();
}
