// Parsers of option values, for commander.
import { InvalidArgumentError } from 'commander';

const sizeUnits: Readonly<Record<string, number>> = {
  '': 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
};

/** "64k", "1m", "4096" -> bytes. */
export function parseBytes(text: string): number {
  const match = /^(\d+)\s*([kmgt]?)(i?b)?$/i.exec(text.trim());
  const value = match ? Number(match[1]) * (sizeUnits[(match[2] ?? '').toLowerCase()] ?? 1) : NaN;
  if (!Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('give bytes, or a number with k, m, g: "64k"');
  }
  return value;
}

const timeUnits: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** "500ms", "30s", "5m", "1h" -> milliseconds; a bare number is seconds. */
export function parseDurationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)?$/.exec(text.trim());
  const value = match ? Number(match[1]) * (timeUnits[match[2] ?? 's'] ?? 1) : NaN;
  if (!Number.isFinite(value)) {
    throw new InvalidArgumentError('give a time: "500ms", "30s", "5m", "1h"');
  }
  return Math.round(value);
}

export function parseCount(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('give a whole number');
  }
  return value;
}

const patienceMax = 100;

/** How many times as long as usual the device may take. */
export function parsePatience(text: string): number {
  const value = parseCount(text);
  if (value < 1 || value > patienceMax) {
    throw new InvalidArgumentError(`give a whole number from 1 to ${patienceMax}`);
  }
  return value;
}
