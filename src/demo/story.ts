// The story on stderr: one line a happening, with the seconds since the start.

/** Outcomes end here, at the right margin. */
const columns = 98;

export class Story {
  readonly #startNs = process.hrtime.bigint();
  readonly #quiet: boolean;

  constructor(quiet: boolean) {
    this.#quiet = quiet;
  }

  /** A line without time, for headings. */
  heading(text: string): void {
    this.#write(`${text}\n`);
  }

  /** A measured happening: who, what, and how it came out. */
  line(who: string, what: string, outcome = ''): void {
    const seconds = Number(process.hrtime.bigint() - this.#startNs) / 1e9;
    const left = `${seconds.toFixed(2).padStart(6)}  ${who.padEnd(5)}  ${what}`;
    const right = outcome === '' ? '' : `  ${outcome}`.padStart(columns - left.length);
    this.#write(`${`${left}${right}`.trimEnd()}\n`);
  }

  /** More about the line before. */
  detail(text: string): void {
    this.#write(`${' '.repeat(12)}${text}\n`);
  }

  #write(text: string): void {
    if (!this.#quiet) process.stderr.write(text);
  }
}

/** 1234567 -> "1,234,567". */
export function grouped(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

/** Microseconds with as many digits as they deserve. */
export function micros(value: number): string {
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}

/** Microseconds as milliseconds, as short as tells them apart: .04, 1.52, 42.6, 119. */
export function millis(us: number): string {
  const ms = us / 1000;
  if (ms >= 10) return ms.toFixed(ms >= 100 ? 0 : 1);
  return ms.toFixed(2).replace(/^0/, '');
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(0)} MiB`;
}
