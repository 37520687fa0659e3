// The broker's log on stderr: one line a happening.
import type { LogFields, Logger } from '../base/log.js';
import { systemClock } from '../os/clock.js';

const levels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof levels)[number];

export function isLogLevel(text: string): text is LogLevel {
  return (levels as readonly string[]).includes(text);
}

/** Control characters in what a client sent must not reach a terminal. */
function plain(value: string): string {
  return value.replace(/\p{Cc}/gu, '?');
}

function format(level: LogLevel, message: string, fields: LogFields | undefined): string {
  const shown = Object.entries(fields ?? {})
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${plain(JSON.stringify(value))}`)
    .join('');
  return `${new Date(systemClock.wallMs()).toISOString()} ${level.padEnd(5)} ${plain(message)}${shown}\n`;
}

/** A logger that writes `lowest` and above to stderr. */
export function createLogger(lowest: LogLevel): Logger {
  const write =
    (level: LogLevel) =>
    (message: string, fields?: LogFields): void => {
      if (levels.indexOf(level) < levels.indexOf(lowest)) return;
      process.stderr.write(format(level, message, fields));
    };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
  };
}
