// A CounterDevice for a guest, served by the process that boots it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CounterDevice } from '../../../src/function/testing/counter-device.js';
import { servedOs } from '../../../src/function/testing/served-fixture.js';
import { serveDevice } from '../../../src/vfio-user/index.js';
import type { ServedMqdma } from '../../vm/served-mqdma.js';

/** Stands where the guest would have its mqdma. */
export async function serveCounter(): Promise<ServedMqdma> {
  const folder = mkdtempSync(join(tmpdir(), 'lessor-vm-counter-'));
  const path = join(folder, 'counter.sock');
  const { pageBytes } = servedOs.memory;
  const device = new CounterDevice({ frameCount: 4, pageBytes });
  const server = await serveDevice(device, { path, os: servedOs, name: 'counter' });
  return {
    socketPath: path,
    said: '',
    onSaid: () => ({ [Symbol.dispose]: () => undefined }),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
