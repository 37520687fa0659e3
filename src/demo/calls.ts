// Requests to a client process of the demo and its answers, over the channel of fork().
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { LessorError } from '../base/errors.js';

export interface CallMessage {
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
}

export interface AnswerMessage {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}

/** Something the client reports without being asked. */
export interface NoticeMessage {
  readonly notice: string;
  readonly value: unknown;
}

type Waiter = { resolve: (value: unknown) => void; reject: (error: unknown) => void };

/** One client process of the demo. */
export class ClientProcess<Calls extends object> {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiter>();
  readonly #notices = new Map<string, (value: unknown) => void>();
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  #nextId = 1;

  constructor(name: string, environment: NodeJS.ProcessEnv) {
    this.name = name;
    const script = fileURLToPath(new URL('./client-process.js', import.meta.url));
    this.#child = fork(script, [name], {
      env: environment,
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child.on('message', (message) => this.#onMessage(message as AnswerMessage));
    this.exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        const error = new LessorError('FUNCTION_GONE', `client ${name} is gone`);
        for (const waiter of this.#waiting.values()) waiter.reject(error);
        this.#waiting.clear();
        resolve({ code, signal });
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  call<Name extends keyof Calls & string>(
    name: Name,
    ...argument: Calls[Name] extends (...all: infer All) => unknown ? All : never
  ): Promise<Calls[Name] extends (...all: never[]) => Promise<infer R> ? R : never> {
    if (!this.#child.connected) {
      const gone = new LessorError('FUNCTION_GONE', `client ${this.name} is gone`);
      return Promise.reject(gone) as never;
    }
    const id = this.#nextId;
    this.#nextId += 1;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    this.#child.send({ id, name, argument: (argument as unknown[])[0] } satisfies CallMessage);
    return answer as never;
  }

  /** Resolves with what the client tells about `notice` next. */
  notice(notice: string): Promise<unknown> {
    return new Promise((resolve) => this.#notices.set(notice, resolve));
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  #onMessage(message: AnswerMessage | NoticeMessage): void {
    if ('notice' in message) {
      this.#notices.get(message.notice)?.(message.value);
      return;
    }
    const waiter = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.error === undefined) waiter?.resolve(message.value);
    else waiter?.reject(new LessorError('DEVICE_FAULT', `${this.name}: ${message.error}`));
  }
}
