// Brings a fresh clone to a state where it runs: packages, the C parts, compiled TypeScript.
// Does nothing, and writes nothing, when all three are current. Output goes to stderr alone.
// Old syntax on purpose: it must be able to say "your Node is too old" on an old Node.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(fileURLToPath(import.meta.url));
const buildDir = join(root, 'build');
const stampPath = join(buildDir, 'stamp.json');
const lockPath = join(root, '.setup.lock');
const lockWaitMs = 300000;

function say(text) {
  writeSync(2, `lessor setup: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}

function checkMachine() {
  if (process.platform !== 'linux') fail('lessor needs Linux 6.5 or newer.');
  const node = process.versions.node.split('.').map(Number);
  if (node[0] < 20 || (node[0] === 20 && node[1] < 19)) {
    fail(`lessor needs Node 20.19 or newer; this is ${process.versions.node}.`);
  }
  const release = readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();
  const kernel = release.split('.').map((part) => Number.parseInt(part, 10));
  if (kernel[0] < 6 || (kernel[0] === 6 && kernel[1] < 5)) {
    fail(`lessor needs Linux 6.5 or newer; this is ${release}.`);
  }
}

function filesBelow(folder, endings) {
  const found = [];
  const entries = existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : [];
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) found.push(...filesBelow(path, endings));
    else if (endings.some((ending) => entry.name.endsWith(ending))) found.push(path);
  }
  return found.sort();
}

function digest(paths, salt) {
  const hash = createHash('sha256').update(salt);
  for (const path of paths) {
    const bytes = readFileSync(path);
    hash.update(`\0${relative(root, path)}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest('hex');
}

const sourceFolders = ['src', 'bench', 'test', 'examples'];

function wantedStamp() {
  const machine = `${process.versions.modules} ${process.arch} ${process.env.CC || 'cc'}`;
  const sources = sourceFolders.flatMap((folder) => filesBelow(join(root, folder), ['.ts']));
  return {
    packages: digest([join(root, 'package-lock.json')], machine),
    native: digest(filesBelow(join(root, 'native'), ['.c', '.h']), machine),
    typescript: digest([...sources, join(root, 'tsconfig.json')], machine),
    sources: digest([], sources.map((path) => relative(root, path)).join('\n')),
  };
}

function currentStamp() {
  try {
    return JSON.parse(readFileSync(stampPath, 'utf8'));
  } catch {
    return {};
  }
}

function stale(wanted, current) {
  return {
    packages:
      wanted.packages !== current.packages || !existsSync(join(root, 'node_modules', 'typescript')),
    native: wanted.native !== current.native || !existsSync(join(buildDir, 'lessor.node')),
    typescript:
      wanted.typescript !== current.typescript ||
      !existsSync(join(root, 'dist', 'src', 'base', 'errors.js')),
    sources: wanted.sources !== current.sources,
  };
}

function run(what, command, args, env) {
  const done = spawnSync(command, args, {
    cwd: root,
    env: env || process.env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 * 1024 * 1024,
  });
  if (done.error && done.error.code === 'ENOENT') return `${command} was not found`;
  if (done.status === 0) return undefined;
  writeSync(2, `${done.stdout || ''}${done.stderr || ''}`);
  return `${what} failed (${command} ended with ${done.signal || done.status})`;
}

function step(name, body) {
  const startNs = process.hrtime.bigint();
  const problem = body();
  if (problem !== undefined) {
    releaseLock();
    fail(problem);
  }
  const seconds = Number(process.hrtime.bigint() - startNs) / 1e9;
  say(`${name} ${seconds.toFixed(1)} s`);
}

function installPackages() {
  const env = { ...process.env };
  delete env.NODE_ENV;
  const args = ['ci', '--include=dev', '--ignore-scripts', '--no-audit', '--no-fund'];
  const npm = process.env.npm_execpath;
  const problem =
    npm && /\.c?js$/.test(npm)
      ? run('installing packages', process.execPath, [npm, ...args], env)
      : run('installing packages', 'npm', args, env);
  return problem && `${problem}: the package registry must be reachable for the first start.`;
}

/** Renamed into place: overwriting a loaded object would kill a running broker. */
function compile(sources, target, flags) {
  const cc = process.env.CC || 'cc';
  const temporary = `${target}.${process.pid}`;
  const problem = run('compiling C', cc, [...flags, '-o', temporary, ...sources, '-lpthread']);
  if (problem) {
    rmSync(temporary, { force: true });
    return `${problem}: lessor needs a C compiler (set CC to name one).`;
  }
  renameSync(temporary, target);
  return undefined;
}

function compileNative() {
  mkdirSync(buildDir, { recursive: true });
  const include = join(root, 'node_modules', 'node-api-headers', 'include');
  const common = ['-O2', '-std=gnu11', '-Wall', '-Wextra', '-Werror', '-D_GNU_SOURCE'];
  const addon = filesBelow(join(root, 'native', 'addon'), ['.c']);
  // Never unloaded: the signal handler and the arenas outlive the worker that loaded them first.
  const shared = ['-shared', '-fPIC', '-Wl,-z,nodelete'];
  const flags = [...shared, '-DNAPI_VERSION=8', '-I', include, ...common];
  const problem = compile(addon, join(buildDir, 'lessor.node'), flags);
  if (problem) return problem;
  const helper = filesBelow(join(root, 'native', 'helper'), ['.c']);
  return helper.length === 0 ? undefined : compile(helper, join(buildDir, 'lessor-helper'), common);
}

function compileTypeScript(cold) {
  // A deleted source must not leave its compiled test behind.
  if (cold) rmSync(join(root, 'dist'), { recursive: true, force: true });
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  return run('compiling TypeScript', process.execPath, [tsc, '-b']);
}

let locked = false;

function releaseLock() {
  if (locked) rmSync(lockPath, { force: true });
  locked = false;
}

function lockIsDead() {
  try {
    const pid = Number(readFileSync(lockPath, 'utf8'));
    if (pid > 0) return !existsSync(`/proc/${pid}`);
    return process.uptime() > 2 && Date.now() - statSync(lockPath).mtimeMs > 2000;
  } catch {
    return false;
  }
}

function takeLock() {
  const untilMs = Date.now() + lockWaitMs;
  let told = false;
  for (;;) {
    try {
      const fd = openSync(lockPath, 'wx');
      writeSync(fd, String(process.pid));
      closeSync(fd);
      locked = true;
      return;
    } catch (error) {
      if (error.code === 'EACCES' || error.code === 'EROFS') {
        fail(`the clone must be built once by a user who may write it (${error.code}).`);
      }
      if (error.code !== 'EEXIST') throw error;
    }
    if (lockIsDead()) {
      try {
        unlinkSync(lockPath);
      } catch {
        // Another process cleaned it up first.
      }
      continue;
    }
    if (!told) say('another set-up of this clone is running; waiting for it');
    told = true;
    if (Date.now() > untilMs) fail(`gave up waiting; remove ${relative(root, lockPath)} if stale.`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  }
}

function main() {
  checkMachine();
  const wanted = wantedStamp();
  const before = stale(wanted, currentStamp());
  if (!before.packages && !before.native && !before.typescript) return;
  takeLock();
  const todo = stale(wanted, currentStamp());
  if (todo.packages) step('packages', installPackages);
  if (todo.native || todo.packages) step('native', compileNative);
  if (todo.typescript || todo.packages) {
    step('typescript', () => compileTypeScript(todo.sources));
  }
  writeFileSync(`${stampPath}.${process.pid}`, `${JSON.stringify(wanted)}\n`);
  renameSync(`${stampPath}.${process.pid}`, stampPath);
  releaseLock();
}

main();
