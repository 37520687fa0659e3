// Processes of the machine: their names, their death, and becoming another program.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { systemClock } from './clock.js';
import { originalFileLimit, resolveInPath } from './exec.js';
import { loadNative } from './native.js';
import { OsProcesses } from './processes.js';
import { OsSockets } from './sockets.js';
import { openCount, openDescriptors } from './testing/open-descriptors.js';
import { Recorder, turns, until } from './testing/socket-contract.js';

const native = loadNative();
const processes = new OsProcesses(native);
const sockets = new OsSockets(native, systemClock);
const folder = mkdtempSync(join(tmpdir(), 'lessor-processes-'));
const children: ChildProcess[] = [];
const sleeper = 'setInterval(() => {}, 1000)';
const indexUrl = (name: string): string => new URL(`./${name}.js`, import.meta.url).href;

function start(stdio: ('ignore' | 'pipe' | number)[], script = sleeper): ChildProcess {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio });
  children.push(child);
  return child;
}

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('pidfds', () => {
  it('tell the death of a process once', async () => {
    const before = openCount();
    const child = start(['ignore', 'ignore', 'ignore']);
    const pidfd = processes.openPidfd(child.pid ?? 0);
    expect(processes.pidOf(pidfd)).toBe(child.pid);
    let exits = 0;
    processes.onExit(pidfd, () => exits++);
    const cancelled = processes.openPidfd(child.pid ?? 0);
    processes.onExit(cancelled, () => (exits += 10))[Symbol.dispose]();
    await turns();
    expect(exits).toBe(0);
    const gone = new Promise((resolve) => child.once('exit', resolve));
    processes.signal(pidfd, 9);
    await gone;
    await until(() => exits > 0, 'exit');
    await turns();
    expect(exits).toBe(1);
    expect(processes.pidOf(pidfd)).toBeUndefined();
    expect(() => processes.signal(pidfd, 0)).toThrow('ESRCH');
    // Late: the process is long gone.
    processes.onExit(pidfd, () => exits++);
    await until(() => exits === 2, 'second watch');
    pidfd.close();
    cancelled.close();
    expect(openCount()).toBe(before);
    expect(() => processes.openPidfd(child.pid ?? 0)).toThrow('ESRCH');
  });

  it('tell whether two name one process', () => {
    const child = start(['ignore', 'ignore', 'ignore']);
    const self = processes.openPidfd(process.pid);
    const again = processes.openPidfd(process.pid);
    const other = processes.openPidfd(child.pid ?? 0);
    const [one, two] = sockets.pair();
    using stream = sockets.stream(one);
    const peer = stream.peerPidfd();
    expect(processes.isSameProcess(self, again)).toBe(true);
    expect(processes.isSameProcess(self, peer)).toBe(true);
    expect(processes.isSameProcess(self, other)).toBe(false);
    for (const fd of [self, again, other, peer, two]) fd.close();
  });

  it('see a death that a grandchild hides from the socket', async () => {
    const path = join(folder, 'grandchild');
    const accepted: ReturnType<typeof sockets.stream>[] = [];
    using listener = sockets.listen(path, 0o600, (stream) => accepted.push(stream));
    // Connects, hands its connection to a child of its own, and tells that child's pid.
    const script = `
      import { spawn } from 'node:child_process';
      import { loadNative } from ${JSON.stringify(indexUrl('native'))};
      import { systemClock } from ${JSON.stringify(indexUrl('clock'))};
      import { OsSockets } from ${JSON.stringify(indexUrl('sockets'))};
      const stream = new OsSockets(loadNative(), systemClock).connect(${JSON.stringify(listener.path)});
      const child = spawn('/bin/sleep', ['60'], {
        stdio: ['ignore', 'ignore', 'ignore', stream.fd.number],
      });
      stream.send(new Uint8Array(Int32Array.of(child.pid).buffer));
      ${sleeper}`;
    const leader = start(['ignore', 'ignore', 'inherit' as 'ignore'], script);
    await new Promise((resolve) => {
      const timer = setInterval(() => {
        if (accepted.length > 0) resolve(clearInterval(timer));
      }, 5);
    });
    const stream = accepted[0];
    const recorder = new Recorder();
    stream?.start(recorder, { fdsMax: 0 });
    const pidfd = stream?.peerPidfd();
    let exited = false;
    if (pidfd) processes.onExit(pidfd, () => (exited = true));
    await until(() => recorder.byteCount === 4, 'pid of the grandchild');
    const grandchild = new Int32Array(new Uint8Array(recorder.bytes).buffer)[0] ?? 0;
    leader.kill('SIGKILL');
    await until(() => exited, 'death by pidfd');
    await turns(200);
    expect(recorder.ends).toEqual([]);
    process.kill(grandchild, 'SIGKILL');
    await until(() => recorder.ends.length === 1, 'end of file');
    pidfd?.close();
  });

  it('refuse to be read by others once the process is not dumpable', () => {
    const script = `
      import { readdirSync } from 'node:fs';
      import { loadNative } from ${JSON.stringify(indexUrl('native'))};
      import { OsProcesses } from ${JSON.stringify(indexUrl('processes'))};
      const processes = new OsProcesses(loadNative());
      processes.setDumpable(false);
      const self = processes.openPidfd(process.pid);
      if (processes.pidOf(self) !== process.pid) process.exit(5);
      if (readdirSync('/proc/self/fd').length === 0) process.exit(6);
      const stat = (await import('node:fs')).statSync('/proc/self/maps');
      console.log(stat.uid);`;
    const uid = process.getuid?.() === 0 ? 65_534 : process.getuid?.();
    const done = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      ...(uid === undefined ? {} : { uid }),
      cwd: '/',
    });
    expect(String(done.stderr)).toBe('');
    // Files of a process that is not dumpable belong to root.
    expect(String(done.stdout)).toBe('0\n');
  });
});

describe('resolveInPath', () => {
  const bin = join(folder, 'bin');
  const other = join(folder, 'other');
  spawnSync('mkdir', [bin, other, join(bin, 'folder')]);
  writeFileSync(join(bin, 'plain'), '');
  writeFileSync(join(other, 'tool'), '#!/bin/sh\n');
  chmodSync(join(other, 'tool'), 0o755);

  it('looks through PATH in order', () => {
    expect(resolveInPath('tool', { PATH: `${bin}:${other}` })).toBe(join(other, 'tool'));
    expect(resolveInPath('sh', {})).toMatch(/\/sh$/);
  });

  it('takes names with a slash as paths', () => {
    expect(resolveInPath(join(other, 'tool'), { PATH: bin })).toBe(join(other, 'tool'));
    expect(() => resolveInPath('./tool', { PATH: other })).toThrow('ENOENT');
  });

  it('tells missing from forbidden', () => {
    expect(() => resolveInPath('missing', { PATH: `${bin}:/nowhere` })).toThrow('ENOENT');
    expect(() => resolveInPath('', { PATH: bin })).toThrow('ENOENT');
    expect(() => resolveInPath('plain', { PATH: bin })).toThrow('EACCES');
    expect(() => resolveInPath('folder', { PATH: bin })).toThrow('EACCES');
  });
});

describe('exec', () => {
  const limitsText = (soft: number): string =>
    `Limit   Soft Limit  Hard Limit  Units\nMax open files    ${soft}   20000   files\n`;

  it('restores the limit that the parent has', () => {
    expect(originalFileLimit(limitsText(256), 20_000)).toBe(256);
    expect(originalFileLimit(limitsText(20_000), 20_000)).toBe(20_000);
    expect(originalFileLimit(limitsText(20_000), 512)).toBe(512);
    expect(originalFileLimit('', 20_000)).toBe(1024);
  });

  /** Runs a script that execs, under a shell with a soft limit of 300. */
  function run(body: string): { status: number | null; lines: string[]; errors: string } {
    const file = join(folder, 'exec.mjs');
    const script = `
      import { loadNative } from ${JSON.stringify(indexUrl('native'))};
      import { Fd } from ${JSON.stringify(indexUrl('fd'))};
      import { OsProcesses } from ${JSON.stringify(indexUrl('processes'))};
      const native = loadNative();
      const processes = new OsProcesses(native);
      const memory = (name) => new Fd(native, native.memfdCreate(name, 1));
      process.stdin.on('data', () => {});
      ${body}`;
    writeFileSync(file, script);
    const command = `ulimit -Sn 300; "$0" "$1"; exit $?`;
    const done = spawnSync('/bin/sh', ['-c', command, process.execPath, file], { input: 'x' });
    return {
      status: done.status,
      lines: String(done.stdout).split('\n'),
      errors: String(done.stderr),
    };
  }

  it('keeps descriptors in their order, even when their numbers cross', () => {
    const { status, lines, errors } = run(`
      const fds = ['a', 'b', 'c', 'd', 'e'].map(memory);
      // Two of them at the other's place.
      const target = (fd, number) => new Fd(native, native.dup3(fd.number, number, 0o2000000));
      const [one, two] = [target(fds[0], 104), target(fds[1], 103)];
      const shell = 'for n in 3 4 5; do readlink /proc/$$/fd/$n; done; ls /proc/$$/fd; true';
      processes.exec({ path: '/bin/sh', argv: ['sh', '-c', shell], environment: {
        PATH: process.env.PATH, NAME: 'value',
      }, fds: [two, one, fds[4]] });`);
    expect(errors).toBe('');
    expect(lines.slice(0, 3)).toEqual([
      '/memfd:b (deleted)',
      '/memfd:a (deleted)',
      '/memfd:e (deleted)',
    ]);
    // What this process itself inherited without close-on-exec is passed on, with high numbers.
    const low = lines.slice(3, -1).filter((number) => Number(number) < 100);
    expect(low).toEqual(['0', '1', '2', '3', '4', '5']);
    expect(status).toBe(0);
  });

  it('places a descriptor that already has the number of another', () => {
    const { lines, errors } = run(`
      const [a, b] = ['a', 'b'].map(memory);
      // Swapped: the first request is at 4, the second at 3.
      const copyA = a.duplicate();
      const copyB = b.duplicate();
      native.dup3(copyA.number, 4, 0o2000000);
      native.dup3(copyB.number, 3, 0o2000000);
      const shell = 'readlink /proc/$$/fd/3 /proc/$$/fd/4';
      processes.exec({ path: '/bin/sh', argv: ['sh', '-c', shell], environment: {
        PATH: process.env.PATH,
      }, fds: [new Fd(native, 4), new Fd(native, 3)] });`);
    expect(errors).toBe('');
    expect(lines.slice(0, 2)).toEqual(['/memfd:a (deleted)', '/memfd:b (deleted)']);
  });

  it('gives the program the state it would have had without Node', () => {
    const { lines, errors } = run(`
      const shell = 'grep -E "^Sig(Ign|Blk)" /proc/self/status; ' +
        'grep "Max open files" /proc/self/limits; grep flags /proc/$$/fdinfo/0; env; echo $0 $1';
      processes.exec({ path: '/bin/sh', argv: ['custom', '-c', shell, 'zero', 'one'], environment: {
        PATH: process.env.PATH, NAME: 'a value',
      }, fds: [] });`);
    expect(errors).toBe('');
    const text = lines.join('\n');
    for (const kind of ['Blk', 'Ign']) expect(text).toMatch(`Sig${kind}:\t0000000000000000`);
    expect(text).toMatch(/Max open files +300 /);
    const flags = Number.parseInt(/flags:\s+(\d+)/.exec(text)?.[1] ?? '', 8);
    expect(flags & 0o4000).toBe(0);
    expect(text).toContain('NAME=a value');
    expect(text).not.toContain('HOME=');
    expect(text).toContain('zero one');
  });

  it('reports a failure that it can foresee before it touches anything', async () => {
    const before = openDescriptors();
    const [one, two] = sockets.pair();
    const request = { argv: ['x'], environment: {}, fds: [one, two] };
    expect(() => processes.exec({ ...request, path: '/nowhere/x' })).toThrow('ENOENT');
    expect(() => processes.exec({ ...request, fds: [], path: '/' })).toThrow('EACCES');
    expect([...openDescriptors().keys()]).toEqual([...before.keys()]);
    // The event loop still turns.
    await turns();
    expect(readFileSync('/proc/self/status', 'latin1')).toContain('SigIgn');
  });

  it('throws the errno of execve', () => {
    const broken = join(folder, 'broken');
    writeFileSync(broken, 'neither a script nor a program');
    chmodSync(broken, 0o755);
    const { status, lines } = run(`
      try {
        processes.exec({ path: ${JSON.stringify(broken)}, argv: ['x'], environment: {}, fds: [] });
      } catch (error) {
        console.log(error.errno);
        process.exit(127);
      }`);
    expect(lines[0]).toBe('ENOEXEC');
    expect(status).toBe(127);
  });
});
