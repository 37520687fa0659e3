// Processes that pass a window on and have a device write to it, as their test sees them.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

function start(script: string, socket: string, fds: readonly number[], uid?: number) {
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), {
    env: { ...process.env, LESSOR_TEST_SOCKET: socket },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc', ...fds],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<string> => {
    const next = await lines.next();
    return next.done ? 'nothing' : next.value;
  };
  return { child, nextLine };
}

export interface WindowProcess {
  readonly child: ChildProcess;
  /** What the process that maps the window says next. */
  nextLine(): Promise<string>;
}

/** A process that maps a window which it is passed. */
export function startMapper(socket: string, fd: number, uid?: number): WindowProcess {
  return start('./window-mapper-child.js', socket, [fd], uid);
}

/** A process that takes a lease and passes its window to a second one, which maps it. */
export async function startOwner(socket: string): Promise<WindowProcess & { readonly id: string }> {
  const owner = start('./window-owner-child.js', socket, []);
  const [{ id }] = (await once(owner.child, 'message')) as [{ id: string }];
  return { ...owner, id };
}
