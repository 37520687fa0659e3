// A client process as its test sees it.
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ClientCalls } from './client-calls.js';

const script = fileURLToPath(new URL('./client-child.js', import.meta.url));

interface Waiter {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

type Answer = { readonly id: number; readonly value?: unknown; readonly error?: string };

export interface ClientOptions {
  readonly uid?: number;
  /** Descriptors that become 4, 5, ... of the client. */
  readonly fds?: readonly number[];
}

class ClientProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<void>;
  readonly #waiting = new Map<number, Waiter>();
  #lastId = 0;

  constructor(socketPath: string, program: string, options: ClientOptions) {
    const { uid, fds = [] } = options;
    this.child = fork(program, {
      env: { ...process.env, LESSOR_TEST_SOCKET: socketPath },
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...fds],
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    this.child.on('message', (message) => this.#answer(message as Answer));
    this.exited = new Promise((resolve) => {
      this.child.once('exit', () => {
        for (const { reject } of this.#waiting.values()) reject(new TypeError('client is gone'));
        this.#waiting.clear();
        resolve();
      });
    });
  }

  call(name: string, parameters: readonly unknown[]): Promise<unknown> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.child.send({ id, name, parameters }, (error) => error && reject(error));
    });
  }

  #answer({ id, value, error }: Answer): void {
    const waiter = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiter?.resolve(value);
    else waiter?.reject(new TypeError(error));
  }
}

/** A process that takes calls. */
export type Actor<Calls extends object> = Calls &
  AsyncDisposable & {
    readonly pid: number;
    readonly exited: Promise<void>;
    kill(signal: NodeJS.Signals): void;
  };

export type TestActor = Actor<ClientCalls>;

/** Starts a client process; its methods are the calls it takes. */
export function startClient(socketPath: string, options: ClientOptions = {}): TestActor {
  return startActor<ClientCalls>(script, socketPath, options);
}

/** The same with another program, which answers as client-child.ts does. */
export function startActor<Calls extends object>(
  program: string,
  socketPath: string,
  options: ClientOptions = {},
): Actor<Calls> {
  const client = new ClientProcess(socketPath, program, options);
  const own: Record<string | symbol, unknown> = {
    pid: client.child.pid ?? 0,
    exited: client.exited,
    kill: (signal: NodeJS.Signals) => void client.child.kill(signal),
    async [Symbol.asyncDispose]() {
      client.child.kill('SIGKILL');
      await client.exited;
    },
  };
  return new Proxy(own, {
    get(target, name) {
      if (name in target || typeof name === 'symbol' || name === 'then') {
        return Reflect.get(target, name) as unknown;
      }
      return (...parameters: unknown[]) => client.call(name, parameters);
    },
  }) as unknown as Actor<Calls>;
}
