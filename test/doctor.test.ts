// `lessor doctor` and `lessor bind` on this machine, against what other programs say of it.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import type { Check, DoctorReport } from '../src/doctor/check.js';
import { Bench, patienceMs } from './support/lessor.js';

const bench = new Bench();
afterAll(() => bench.clear(), patienceMs);

const shell = (command: string): string =>
  execFileSync('sh', ['-c', command], { encoding: 'utf8' }).trim();
/** Only of a device: the shell makes a file of what is not there. */
const isOpen = (path: string): boolean =>
  shell(`[ -c ${path} ] && (: <> ${path}) 2>/dev/null && echo yes || true`) === 'yes';
const names = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);

describe('doctor', { timeout: patienceMs }, () => {
  test('tells the truth of this machine', async () => {
    const done = await bench.run(['doctor', '--json']);
    expect(done.stderr).toBe('');
    const report = JSON.parse(done.stdout) as DoctorReport;
    const of = (id: string): Check | undefined => report.machine.find((each) => each.id === id);
    expect(of('node')?.value).toBe(shell(`${process.execPath} -p process.versions.node`));
    expect(of('linux')?.value).toBe(shell('uname -r'));
    expect(of('pidfd')?.value).toBe(true);
    expect(of('emulated')?.value).toBe(true);
    expect(of('iommufd')?.value).toBe(isOpen('/dev/iommu'));
    expect(of('container')?.value).toBe(isOpen('/dev/vfio/vfio'));
    expect(of('vfio-pci')?.value).toBe(names('/sys/bus/pci/drivers').includes('vfio-pci'));
    const hasIommu = [names('/sys/class/iommu'), names('/sys/kernel/iommu_groups')].every(
      (list) => list.length > 0,
    );
    expect(of('iommu')?.value).toBe(hasIommu);
    const memlock = shell('ulimit -S -l');
    const bytes = memlock === 'unlimited' ? null : Number(memlock) * 1024;
    expect(of('memlock')?.value).toBe(bytes);
    expect(of('huge-pages')?.value).toBe(Number(shell('cat /proc/sys/vm/nr_hugepages')));
    expect(report.ok).toBe(done.status === 0);
    expect(report.machine.every(({ verdict }) => verdict !== 'fail')).toBe(true);
  });

  test('says what it found to people, too', async () => {
    const done = await bench.run(['doctor']);
    expect(done.stdout).toMatch(/^this machine\nok {4}node /);
    expect(done.stdout).toContain('a function in software works');
  });

  test('fails for a function that is not there, or none at all', async () => {
    const none = await bench.run(['doctor', 'ffff:ff:1f.7', '--json']);
    expect(none.status).toBe(1);
    expect(JSON.parse(none.stdout)).toMatchObject({
      ok: false,
      functions: [{ address: 'ffff:ff:1f.7', checks: [{ id: 'function', verdict: 'fail' }] }],
    });
    expect((await bench.run(['doctor', 'nonsense'])).status).toBe(2);
  });
});

describe('bind', { timeout: patienceMs }, () => {
  test.each([
    [['bind', '5.0'], 2, 'INVALID_ARGUMENT'],
    [['bind', '../../etc'], 2, 'INVALID_ARGUMENT'],
    [['unbind', '00:20.0'], 2, 'INVALID_ARGUMENT'],
    [['bind', 'ffff:ff:1f.7', '--json'], 3, 'FUNCTION_GONE'],
    [['unbind', 'ffff:ff:1f.7'], 3, 'FUNCTION_GONE'],
    [['bind'], 2, 'missing required argument'],
  ] as const)('%j is refused', async (words, status, complaint) => {
    const done = await bench.run(words);
    expect(done).toMatchObject({ status, stdout: '' });
    expect(done.stderr).toContain(complaint);
  });
});
