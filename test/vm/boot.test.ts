// With a real guest: skipped, by name, where there is none in the cache.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { rootPath } from '../tools/root.js';
import { Guest, runInVm } from './boot.js';
import { lastLines, warningsIn } from './console.js';
import { cachedVm, vmUnavailable } from './vm.js';

const reason = vmUnavailable();
const vm = cachedVm();
const guestMs = 120_000;
/** Runs a guest without end, and says which process it is once it is up. */
const endlessGuest = `
  import { readFileSync } from 'node:fs';
  import { runInVm } from ${JSON.stringify(new URL('boot.js', import.meta.url).href)};
  const children = '/proc/self/task/' + process.pid + '/children';
  const onStdout = () => console.log('qemu', String(readFileSync(children)), 'is up');
  await runInVm(['sh', '-c', 'echo; sleep 600'], { onStdout });
`;

function inGuest(name: string, body: () => Promise<void>): void {
  test.skipIf(reason !== undefined)(
    reason === undefined ? name : `${name} (${reason})`,
    body,
    guestMs,
  );
}

inGuest('a command has the checkout, real devices, and its own output and status', async () => {
  const script = `
    cat package.json; cat /proc/sys/kernel/osrelease >&2
    test -c /dev/iommu && test -d /sys/bus/pci/devices/0000:00:05.0/iommu_group || exit 1
    touch package.json && rm -r docs && mkdir docs && test -z "$(ls docs)" || exit 2
    test "$A" = "b c" && exit 42`;
  const result = await runInVm(['sh', '-c', script], { ...(vm && { vm }), env: { A: 'b c' } });
  expect(result).toMatchObject({ end: 'exited', status: 42, complaints: '' });
  expect(result.stdout).toBe(readFileSync(rootPath('package.json'), 'utf8'));
  expect(result.stderr).toMatch(/^7\.3\.\d+\n$/);
  expect(result.console).toContain('DMAR: Host address width 48');
  expect(warningsIn(result.console)).toEqual([]);
});

inGuest('an interruption reaches the command, which may say something to it', async () => {
  if (vm === undefined) return;
  const script = 'trap "echo caught; exit 5" INT; echo ready; while :; do sleep 1; done';
  const guest: Guest = new Guest(vm, ['sh', '-c', script], {
    onStdout: (bytes) => {
      if (String(bytes).includes('ready')) guest.interrupt();
    },
  });
  const result = await guest.result;
  expect(result, lastLines(result.console, 40)).toMatchObject({
    status: 5,
    stdout: 'ready\ncaught\n',
  });
});

inGuest('a kernel that crashes is no result', async () => {
  if (vm === undefined) return;
  const result = await runInVm(['sh', '-c', 'echo c >/proc/sysrq-trigger'], { vm });
  expect(result).toMatchObject({ end: 'panicked', status: undefined });
  expect(result.console).toContain('Kernel panic - not syncing');
});

inGuest('a guest goes with the process that wanted it', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', endlessGuest]);
  let said = '';
  child.stdout.on('data', (bytes) => {
    said += String(bytes);
    if (said.includes('is up')) child.kill('SIGTERM');
  });
  expect(await once(child, 'close')).toEqual([null, 'SIGTERM']);
  const guestPid = Number(/qemu (\d+)/.exec(said)?.[1]);
  expect(() => process.kill(guestPid, 0)).toThrow('ESRCH');
});

inGuest('a command that takes too long is ended with its guest', async () => {
  if (vm === undefined) return;
  const result = await runInVm(['sleep', '600'], { vm, timeoutMs: 3000 });
  expect(result).toMatchObject({ end: 'timed-out', status: undefined });
  expect(result.elapsedMs).toBeLessThan(60_000);
});
