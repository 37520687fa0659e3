// A folder that is made once and kept between runs: built aside, renamed into place whole, so that
// a broken-off build or two runs at once never leave half of one.
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Another run may be building the same folder: how long it may take unless the caller knows. */
const usualWaitMs = 300_000;

/** Where what is fetched for tests stays between runs: never in the checkout. */
export function cacheRoot(env: NodeJS.ProcessEnv = process.env): string {
  if (env.LESSOR_CACHE) return env.LESSOR_CACHE;
  if (env.XDG_CACHE_HOME) return join(env.XDG_CACHE_HOME, 'lessor');
  return join(homedir(), '.cache', 'lessor');
}

function isAlive(pid: number): boolean {
  return Number.isInteger(pid) && pid > 0 && existsSync(`/proc/${pid}`);
}

function holderOf(lockPath: string): number {
  try {
    return Number(readFileSync(lockPath, 'utf8'));
  } catch {
    return 0;
  }
}

function tryLock(lockPath: string): boolean {
  try {
    const fd = openSync(lockPath, 'wx');
    writeSync(fd, String(process.pid));
    closeSync(fd);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Takes the lock, a dead holder's too. A lock without a number is one that is being written. */
async function lock(lockPath: string, say: (text: string) => void, waitMs: number): Promise<void> {
  const untilMs = performance.now() + waitMs;
  let emptySinceMs: number | undefined;
  let isTold = false;
  while (!tryLock(lockPath)) {
    const nowMs = performance.now();
    const holder = holderOf(lockPath);
    emptySinceMs = holder > 0 ? undefined : (emptySinceMs ?? nowMs);
    const isDead =
      holder > 0 ? !isAlive(holder) : emptySinceMs !== undefined && nowMs - emptySinceMs > 2000;
    if (isDead) rmSync(lockPath, { force: true });
    if (!isTold) say(`waiting for another run (${holder}) that makes it`);
    isTold = true;
    if (nowMs > untilMs) throw new Error(`${lockPath} is held by process ${holder}`);
    await sleep(200);
  }
}

/** Folders that builds of dead processes left. */
function sweep(root: string, name: string): void {
  for (const entry of readdirSync(root)) {
    const pid = entry.startsWith(`${name}.tmp-`) ? Number(entry.slice(name.length + 5)) : 0;
    if (pid > 0 && !isAlive(pid)) rmSync(join(root, entry), { recursive: true, force: true });
  }
}

/**
 * The folder `name` under `root`, made by `build` when it is not there.
 *
 * @param name - Names the recipe too: another recipe is another folder.
 * @param build - Fills an empty folder. When it fails, nothing stays.
 * @param waitMs - How long another run may take to build it, before this one gives up.
 */
export async function cachedFolder(
  root: string,
  name: string,
  build: (folder: string) => Promise<void>,
  say: (text: string) => void,
  waitMs = usualWaitMs,
): Promise<string> {
  const path = join(root, name);
  if (existsSync(path)) return path;
  mkdirSync(root, { recursive: true });
  const lockPath = `${path}.lock`;
  await lock(lockPath, say, waitMs);
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    if (existsSync(path)) return path;
    sweep(root, name);
    mkdirSync(temporary);
    await build(temporary);
    renameSync(temporary, path);
    return path;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
    rmSync(lockPath, { force: true });
  }
}
