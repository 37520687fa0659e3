// A process whose guest goes on storing to its registers, whatever becomes of the lease: told the
// socket of a listening lease, or handed the descriptor of an ordinary one at 4. It says how often
// it has stored, and lives until it is killed, by SIGBUS or by its test.
import { systemClock } from '../../src/os/clock.js';
import { Fd } from '../../src/os/fd.js';
import { loadNative } from '../../src/os/index.js';
import type { Mapping } from '../../src/os/memory-types.js';
import { connectVfioUser } from '../../src/vfio-user/client.js';
import { configRegion, monitorOs, VmMonitor } from './vm-monitor.js';

const path = process.env.LESSOR_TEST_PATH;
/** Of BAR 2, at the end of the queue's page: the device takes no notice of it. */
const wordIndex = 1023;

async function mapQueue(): Promise<Mapping> {
  if (path !== undefined) {
    const monitor = await VmMonitor.connect(path);
    await monitor.realize();
    await monitor.command(6);
    return monitor.bar(2).mappings[0] as Mapping;
  }
  const socket = monitorOs.sockets.stream(new Fd(loadNative(), 4));
  const device = await connectVfioUser(socket, { clock: systemClock });
  const { fd } = await device.regionInfo(2);
  const spec = { offsetBytes: 0, lengthBytes: 4096, writable: true };
  const mapping = monitorOs.memory.map(fd as Fd, spec);
  await device.write16(configRegion, 4, 6);
  return mapping;
}

try {
  const words = new Uint32Array((await mapQueue()).buffer);
  let stores = 0;
  const round = (): void => {
    for (let burst = 0; burst < 1000; burst += 1) words[wordIndex] = ++stores;
    process.send?.({ stores, reads: words[wordIndex] });
    setImmediate(round);
  };
  round();
} catch (error) {
  process.send?.({ failed: String(error) });
}
process.on('disconnect', () => process.exit(0));
