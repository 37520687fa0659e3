// What the guest's kernel says on its console, and what of it means trouble.

const fatal = [/Kernel panic - not syncing/, /\bOops\b/, /\bBUG: /, /general protection fault/];
const warning = /\bWARNING: /;
/** A kernel line may begin with its time. */
const timePattern = /^\[\s*\d+\.\d+\]\s*/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: terminals are controlled by them
const terminalCodes = /\x1b(\[[0-9;?]*[A-Za-z]|c)|\r/g;

/** The lines of a console, without what only moves a cursor, and without empty ones. */
export function consoleLines(text: string): readonly string[] {
  return text
    .replaceAll(terminalCodes, '')
    .split('\n')
    .filter((line) => line.trim() !== '');
}

/** The line by which the kernel said that it cannot go on, or that it should not have. */
export function panicIn(text: string): string | undefined {
  return consoleLines(text)
    .find((line) => fatal.some((pattern) => pattern.test(line)))
    ?.replace(timePattern, '');
}

/** Lines by which the kernel said that one of its own expectations failed. */
export function warningsIn(text: string): readonly string[] {
  return consoleLines(text)
    .filter((line) => warning.test(line))
    .map((line) => line.replace(timePattern, ''));
}

export function lastLines(text: string, count: number): string {
  return consoleLines(text).slice(-count).join('\n');
}
