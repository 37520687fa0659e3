// An mqdma for a guest: `lessor device serve` as a child process of whoever boots the guest.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rootPath } from '../tools/root.js';

/** Ends the server when our end of its standard input is closed: also when we are killed. */
const untilEof = '"$@" & exec >&- 2>&-; read -r _; kill $!; wait $!';
const program = rootPath('bin/lessor.js');
const readyMsMax = 60_000;

export interface ServedMqdma extends AsyncDisposable {
  readonly socketPath: string;
  /** All that the server has said: a line for each DMA that it refused. */
  readonly said: string;
  /** Tells what it says from now on. */
  onSaid(listener: (bytes: Buffer) => void): Disposable;
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    // The shell has closed it: this is the server's end.
    child.stdout?.once('close', () => resolve());
    child.once('error', () => resolve());
  });
}

function ready(child: ChildProcess, end: Promise<void>, said: () => string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => reject(new Error(`the mqdma ${why}: ${said()}`));
    const timer = setTimeout(() => fail('was not served in time'), readyMsMax);
    child.stdout?.once('data', () => {
      clearTimeout(timer);
      resolve();
    });
    void end.then(() => {
      clearTimeout(timer);
      fail('was not served');
    });
  });
}

/**
 * Serves an mqdma whose faults can be injected, until it is disposed.
 *
 * @throws Error with what the server said when it does not come up.
 */
export async function startServedMqdma(): Promise<ServedMqdma> {
  const folder = mkdtempSync(join(tmpdir(), 'lessor-vm-mqdma-'));
  const socketPath = join(folder, 'mqdma.sock');
  const words = ['device', 'serve', 'mqdma', '--fault-injection', '--listen', socketPath];
  const server = [process.execPath, program, ...words, '--json', '--log', 'info'];
  const child = spawn('/bin/sh', ['-c', untilEof, 'sh', ...server], {
    stdio: ['pipe', 'pipe', 'pipe'],
    // ^C is for the command in the guest.
    detached: true,
  });
  const listeners = new Set<(bytes: Buffer) => void>();
  let said = '';
  child.stderr?.on('data', (bytes: Buffer) => {
    said += String(bytes);
    for (const listener of listeners) listener(bytes);
  });
  const end = ended(child);
  const stop = async (): Promise<void> => {
    child.stdin?.end();
    await end;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await ready(child, end, () => said);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    socketPath,
    get said() {
      return said;
    },
    onSaid(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    [Symbol.asyncDispose]: stop,
  };
}
