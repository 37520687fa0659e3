// mqdma, the multi-queue DMA engine that lessor leases, as a device of its own: for a guest, or for
// a broker that owns it from another process. Its registers are in
// docs/reference/mqdma-datasheet.md.
//
//   node dist/examples/mqdma.js /tmp/mqdma.sock
//   qemu-system-x86_64 -M q35,memory-backend=m -m 1G \
//     -object memory-backend-memfd,id=m,size=1G,share=on \
//     -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/mqdma.sock"}}'
//
// `lessor device serve mqdma --listen /tmp/mqdma.sock` does the same.
import { MqdmaDevice } from 'lessor/device';
import { serveDevice } from 'lessor/vfio-user';

// vfio-user has no PASIDs: queues are told apart by their bounds.
const device = new MqdmaDevice({ queueCount: 4, pasidBits: 0 });

const [path = '/tmp/mqdma.sock'] = process.argv.slice(2);
const server = await serveDevice(device, { path });
console.log(`serving on ${path}`);
process.once('SIGTERM', () => server[Symbol.asyncDispose]());
process.once('SIGINT', () => server[Symbol.asyncDispose]());
