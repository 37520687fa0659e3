// A PCI device of your own, plugged into QEMU (10.1 or newer): a register that counts what is
// added to it, and an interrupt when it reaches a value.
//
//   node dist/examples/counter.js /tmp/counter.sock
//   qemu-system-x86_64 -M q35,memory-backend=m -m 1G \
//     -object memory-backend-memfd,id=m,size=1G,share=on \
//     -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/counter.sock"}}'
import type { Bus, DeviceConfig, PciDevice, Value, Width } from 'lessor/device';
import { serveDevice } from 'lessor/vfio-user';

/** Byte offsets in BAR0; each register has 32 bits. */
const register = { COUNT: 0x0, ADD: 0x4, COMPARE: 0x8, ACKNOWLEDGE: 0xc };

class Counter implements PciDevice {
  readonly config: DeviceConfig = {
    ...{ vendorId: 0x1234, deviceId: 0x0001, subsystemVendorId: 0x1234, subsystemId: 0x0001 },
    ...{ classCode: 0xff0000, revisionId: 1, pasidBits: 0 },
    ...{ vectorCount: 1, msiVectorCount: 1, intx: true },
  };
  readonly regions = [{ index: 0, lengthBytes: 4096 }];
  #bus: Bus | undefined;
  #count = 0;
  #compare = 0;

  attach(bus: Bus): void {
    this.#bus = bus;
  }

  read(_region: number, offsetBytes: number, width: Width): Value {
    if (width !== 4) return 0;
    return offsetBytes === register.COUNT ? this.#count : this.#compare;
  }

  write(_region: number, offsetBytes: number, _width: Width, value: Value): void {
    if (offsetBytes === register.COMPARE) this.#compare = Number(value);
    if (offsetBytes === register.ACKNOWLEDGE) this.#bus?.setIntx?.(false);
    if (offsetBytes !== register.ADD) return;
    const before = this.#count;
    this.#count = (before + Number(value)) >>> 0;
    if (before >= this.#compare || this.#count < this.#compare) return;
    this.#bus?.interrupt(0); // heard when the driver chose MSI,
    this.#bus?.setIntx?.(true); // and this when it did not
  }

  reset(): void {
    this.#count = 0;
    this.#compare = 0;
    this.#bus?.setIntx?.(false);
  }
}

const [path = '/tmp/counter.sock'] = process.argv.slice(2);
const server = await serveDevice(new Counter(), { path });
console.log(`serving on ${path}`);
process.once('SIGTERM', () => server[Symbol.asyncDispose]());
process.once('SIGINT', () => server[Symbol.asyncDispose]());
