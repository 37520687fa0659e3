// QEMU's machine protocol, as far as a test needs it: commands, and events as they come.
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';

type Answer = Readonly<Record<string, unknown>>;

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class Qmp {
  readonly #stream: Duplex;
  readonly #waiting: Waiting[] = [];
  readonly events: string[] = [];
  #ended: Error | undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on('error', () => undefined);
    const lines = createInterface({ input: stream });
    lines.on('line', (line) => this.#take(JSON.parse(line) as Answer));
    lines.on('error', () => undefined);
    lines.on('close', () => this.#end());
  }

  /** @throws Error with QEMU's description of what went wrong. */
  command(execute: string, args: Answer = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.#waiting.push({ resolve, reject });
      this.#stream.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    });
  }

  #take(answer: Answer): void {
    if (typeof answer.event === 'string') {
      this.events.push(answer.event);
      return;
    }
    if (answer.QMP !== undefined) return;
    const waiting = this.#waiting.shift();
    if (answer.error === undefined) waiting?.resolve(answer.return);
    else waiting?.reject(new Error(`QMP: ${JSON.stringify(answer.error)}`));
  }

  #end(): void {
    this.#ended = new Error('QEMU closed the QMP connection');
    for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
  }
}
