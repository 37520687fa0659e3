// QEMU's EDU device, outside QEMU: drivers written for `-device edu` cannot tell. Its registers are
// in docs/specs/edu.rst of QEMU, its source here in src/device/edu.
//
//   node dist/examples/edu.js /tmp/edu.sock
//   qemu-system-x86_64 -M q35,memory-backend=m -m 1G \
//     -object memory-backend-memfd,id=m,size=1G,share=on \
//     -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/edu.sock"}}'
//
// `lessor device serve edu --listen /tmp/edu.sock` does the same.
import { createEdu } from 'lessor/device';
import { serveDevice } from 'lessor/vfio-user';

// QEMU's own has 28 bits, so that drivers learn to set a mask. With all of a guest's memory in
// reach, one that does not still works.
const device = createEdu({ dmaBits: 40, dmaDelayMs: 10 });

const [path = '/tmp/edu.sock'] = process.argv.slice(2);
const server = await serveDevice(device, { path });
console.log(`serving on ${path}`);
process.once('SIGTERM', () => server[Symbol.asyncDispose]());
process.once('SIGINT', () => server[Symbol.asyncDispose]());
