// A served lab device on the real system and a client of it, for tests of the device server.
import { isOsError } from '../../base/errors.js';
import { systemClock } from '../../os/clock.js';
import { OsEvents } from '../../os/events.js';
import type { Fd } from '../../os/fd.js';
import { createMemoryOs } from '../../os/memory.js';
import { loadNative } from '../../os/native.js';
import type { StreamSocket } from '../../os/socket-types.js';
import { OsSockets } from '../../os/sockets.js';
import { connectVfioUser, type VfioUserClient } from '../client.js';
import {
  type DeviceServer,
  type ServeDeviceOptions,
  serveDevice,
} from '../device/device-server.js';
import { DmaTable } from '../dma/table.js';
import { LabDevice, type LabOptions, labDma, labRegister } from './lab-device.js';

const native = loadNative();

export const labOs = {
  memory: createMemoryOs(native),
  events: new OsEvents(native),
  sockets: new OsSockets(native, systemClock),
  clock: systemClock,
};

/** The errno that a call fails with; undefined when it does not. */
export async function errnoOf(call: Promise<unknown>): Promise<string | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    return isOsError(error) ? error.errno : String(error);
  }
}

/** COMMAND in configuration space, and its bits. */
export const command = { AT: 4, MEMORY: 2, MASTER: 4, INTX_DISABLE: 0x400 } as const;
const configRegion = 7;

export interface Lab extends AsyncDisposable {
  readonly device: LabDevice;
  readonly server: DeviceServer;
  readonly client: VfioUserClient;
  /** Memory that the client serves by message. */
  readonly table: DmaTable;
  /** Another client, which may have to wait. */
  connect(): Promise<VfioUserClient>;
  /** The other end of a socket that the server was given. */
  attachRaw(): StreamSocket;
  setCommand(bits: number): Promise<void>;
  /** Memory of the client, mapped for the device at an address. */
  map(iova: number, lengthBytes: number, options?: MapOptions): Promise<ClientBuffer>;
  /** Runs a DMA by registers. @returns 0, or 1 + index into `faultReasons`. */
  dma(kind: keyof typeof labDma, iova: number, lengthBytes: number): Promise<number>;
}

export interface MapOptions {
  readonly readable?: boolean;
  readonly writable?: boolean;
}

export interface ClientBuffer {
  readonly fd: Fd;
  readonly u8: Uint8Array;
}

export interface LabServeOptions extends Omit<ServeDeviceOptions, 'os'> {
  readonly lab?: LabOptions;
}

export function createBuffer(lengthBytes: number): ClientBuffer {
  const fd = labOs.memory.create('lessor-test-lab', lengthBytes);
  const spec = { offsetBytes: 0, lengthBytes, writable: true };
  return { fd, u8: new Uint8Array(labOs.memory.map(fd, spec).buffer) };
}

export async function startLab(options: LabServeOptions = {}): Promise<Lab> {
  const { lab = {}, ...rest } = options;
  const device = new LabDevice(lab);
  const server = await serveDevice(device, { name: 'lab', ...rest, os: labOs });
  const clients: VfioUserClient[] = [];
  const raw: StreamSocket[] = [];
  const attachRaw = () => {
    const [one, other] = labOs.sockets.pair();
    server.attach(labOs.sockets.stream(one));
    const socket = labOs.sockets.stream(other);
    raw.push(socket);
    return socket;
  };
  const table = new DmaTable();
  const connect = async () => {
    const client = await connectVfioUser(attachRaw(), { clock: systemClock, dma: table });
    clients.push(client);
    return client;
  };
  const client = await connect();
  const write = (register: number, value: number) => client.write32(0, register, value);
  return {
    device,
    server,
    client,
    table,
    connect,
    attachRaw,
    setCommand: (bits) => client.write16(configRegion, command.AT, bits),
    async map(iova, lengthBytes, { readable = true, writable = true } = {}) {
      const buffer = createBuffer(lengthBytes);
      await client.dmaMap({
        iova: BigInt(iova),
        lengthBytes: BigInt(lengthBytes),
        offsetBytes: 0n,
        readable,
        writable,
        fd: buffer.fd.duplicate(),
      });
      return buffer;
    },
    async dma(kind, iova, lengthBytes) {
      await client.write64(0, labRegister.DMA_IOVA, BigInt(iova));
      await write(labRegister.DMA_LENGTH, lengthBytes);
      await write(labRegister.DMA_COMMAND, labDma[kind]);
      return client.read32(0, labRegister.DMA_RESULT);
    },
    async [Symbol.asyncDispose]() {
      for (const one of clients) one.close();
      for (const socket of raw) socket[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
