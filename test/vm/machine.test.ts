import { expect, test } from 'vitest';
import { machineWords, usualMachine } from './machine.js';

const files = { bzImage: '/k', initramfs: '/i', share: '/a,b', consoleFd: 3 };

/** What follows each occurrence of an option. */
function valuesOf(words: readonly string[], option: string): readonly string[] {
  return words.flatMap((word, index) => (word === option ? [words[index + 1] ?? ''] : []));
}

test('what tests count on is pinned', () => {
  const words = machineWords(usualMachine, files);
  expect(valuesOf(words, '-accel')).toEqual(['tcg,thread=multi']);
  expect(valuesOf(words, '-device')).toEqual([
    'intel-iommu,intremap=on,caching-mode=on,aw-bits=48',
    'edu,addr=5',
  ]);
  expect(valuesOf(words, '-object')).toEqual(['memory-backend-memfd,id=ram,share=on,size=2048M']);
});

test("the host's files cannot be written, and a comma is no end of a path", () => {
  const [host, share] = valuesOf(machineWords(usualMachine, files), '-virtfs');
  expect(host).toContain('path=/,mount_tag=host');
  expect(host).toContain('readonly=on');
  expect(share).toContain('path=/a,,b,mount_tag=share');
  expect(share).not.toContain('readonly');
});

test('a server behind a root port is alone on the bus of the port', () => {
  const words = machineWords({ ...usualMachine, behindPort: '/s' }, files);
  const [, , port, device] = valuesOf(words, '-device');
  expect(port).toBe('pcie-root-port,id=root-port,bus=pcie.0,addr=4,chassis=1,slot=1');
  expect(JSON.parse(device ?? '')).toEqual({
    driver: 'vfio-user-pci',
    ...{ bus: 'root-port', addr: '0' },
    socket: { type: 'unix', path: '/s' },
  });
});

test('servers are plugged in, in slots that are free', () => {
  const machine = { ...usualMachine, vfioUser: { 16: '/s,1' }, kernelWords: ['a', 'b=c'] };
  const words = machineWords(machine, files);
  expect(JSON.parse(valuesOf(words, '-device')[2] ?? '')).toEqual({
    driver: 'vfio-user-pci',
    addr: '10',
    socket: { type: 'unix', path: '/s,1' },
  });
  expect(valuesOf(words, '-append')[0]).toMatch(/ a b=c$/);
  for (const slot of [5, 31, 6.5]) {
    expect(() => machineWords({ ...usualMachine, vfioUser: { [slot]: '/s' } }, files)).toThrow(
      RangeError,
    );
  }
});
