// The device of floor/vfio-user-server.c as one that its author writes, served by `serveDevice`
// to one client at a time: `vfio-user-served <socket path>`. Ends with its stdin.
import type { DeviceConfig, PciDevice, Value, Width } from '../../src/device/types.js';
import { serveDevice } from '../../src/vfio-user/index.js';
import { regionBytes } from '../vfio-user-device.js';

class MemoryDevice implements PciDevice {
  readonly config: DeviceConfig = {
    vendorId: 0x1234,
    deviceId: 1,
    subsystemVendorId: 0x1234,
    subsystemId: 1,
    classCode: 0x058000,
    revisionId: 0,
    vectorCount: 0,
    pasidBits: 0,
  };
  readonly regions = [{ index: 0, lengthBytes: regionBytes }];
  readonly #memory = new DataView(new ArrayBuffer(regionBytes));

  attach(): void {}

  read(_region: number, offsetBytes: number, width: Width): Value {
    if (width === 1) return this.#memory.getUint8(offsetBytes);
    if (width === 2) return this.#memory.getUint16(offsetBytes, true);
    if (width === 4) return this.#memory.getUint32(offsetBytes, true);
    return this.#memory.getBigUint64(offsetBytes, true);
  }

  write(_region: number, offsetBytes: number, width: Width, value: Value): void {
    if (width === 1) this.#memory.setUint8(offsetBytes, Number(value));
    else if (width === 2) this.#memory.setUint16(offsetBytes, Number(value), true);
    else if (width === 4) this.#memory.setUint32(offsetBytes, Number(value), true);
    else this.#memory.setBigUint64(offsetBytes, BigInt(value), true);
  }

  reset(): void {
    new Uint8Array(this.#memory.buffer).fill(0);
  }
}

const server = await serveDevice(new MemoryDevice(), { path: process.argv[2] ?? '' });
process.stdout.write('ready\n');
process.stdin.resume();
process.stdin.once('end', () => {
  void server[Symbol.asyncDispose]().then(() => process.exit());
});
