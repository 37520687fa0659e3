// An O_PATH file keeps a dma-buf that has no file any more. Where the kernel then uses the freed
// file, nothing of this is safe to try: so these rules are for kernels that can revoke.
import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs';
import { eduAddress, eduFolder } from '../edu-device.js';
import { type Exporter, O_PATH } from './exporter.js';
import { expectSame, identification, type Rule } from './rule.js';

const registers = [{ first: 0, count: 1 }];

/** @returns A descriptor to close with closeSync. */
function leavePath(device: Exporter): number {
  using buffer = device.export(registers);
  return openSync(`/proc/self/fd/${buffer.number}`, O_PATH);
}

export const pathRules: readonly Rule[] = [
  {
    name: 'a dma-buf of which only a path is left does not disturb what concerns the others',
    needs: ['map', 'revoke'],
    async check({ open, start }) {
      using device = open();
      const paths = [leavePath(device), leavePath(device)];
      using buffer = device.export(registers);
      await using mapper = start(buffer);
      await mapper.map();
      device.setMemory(false);
      expectSame('memory is off', await mapper.read(), 'SIGBUS');
      device.setMemory(true);
      expectSame('memory is on', await mapper.read(), identification);
      closeSync(paths[0] ?? -1);
      expectSame('revoke', device.revoke(buffer.number), 'ok');
      expectSame('revoked', await mapper.read(), 'SIGBUS');
      device[Symbol.dispose]();
      closeSync(paths[1] ?? -1);
    },
  },
  {
    name: 'a path does not keep the device from being unbound when it is closed',
    needs: ['revoke'],
    async check({ open }) {
      const device = open();
      const path = leavePath(device);
      device[Symbol.dispose]();
      // Waits for whoever holds the registration.
      writeFileSync(`${eduFolder}/driver/unbind`, eduAddress);
      expectSame('bound', existsSync(`${eduFolder}/driver`), false);
      closeSync(path);
      open()[Symbol.dispose]();
    },
  },
];
