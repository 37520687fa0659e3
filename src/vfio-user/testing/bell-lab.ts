// A served lab device with doorbells of every kind, and a client that holds their eventfds.
import { systemClock } from '../../os/clock.js';
import { closeAll, type Fd } from '../../os/fd.js';
import { connectVfioUser, type VfioUserClient } from '../client.js';
import {
  type DeviceServer,
  type ServeDeviceOptions,
  serveDevice,
} from '../device/device-server.js';
import { labOs } from './lab.js';
import { LabDevice, labPage, labRegister } from './lab-device.js';

const { STORAGE, MANNERS } = labRegister;
const any = { offsetBytes: STORAGE, lengthBytes: 4 } as const;
const seven = { offsetBytes: STORAGE + 4, lengthBytes: 2, datamatch: 7n } as const;
const nine = { ...seven, datamatch: 9n };
const wide = { offsetBytes: STORAGE + 8, lengthBytes: 8, datamatch: 2n ** 63n } as const;
const refused = { offsetBytes: MANNERS, lengthBytes: 4, datamatch: 1n } as const;
const bug = { ...refused, datamatch: 2n };
const inFrame = { offsetBytes: labPage.target + 8, lengthBytes: 4 } as const;
const besideIt = { offsetBytes: labPage.target + 12, lengthBytes: 4 } as const;

/** Doorbells of BAR0, as their entries come. */
export const bellOrder = ['any', 'seven', 'nine', 'wide', 'refused', 'bug'] as const;
export type BellName = (typeof bellOrder)[number];

/** What writes wait for until it is resolved. */
export function newGate(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** A lab device with doorbells whose writes may be held up. */
export class BellDevice extends LabDevice {
  /** Before a write of BAR0 is done. */
  gate: Promise<void> | undefined;

  constructor() {
    const frame = { lengthBytes: 4096, writable: true };
    super({
      regions: [
        { index: 0, lengthBytes: 4096, doorbells: [bug, refused, wide, nine, seven, any] },
        {
          index: 2,
          lengthBytes: 4 * 4096,
          frames: [
            { ...frame, offsetBytes: labPage.target },
            { ...frame, offsetBytes: labPage.status, writable: false },
          ],
          doorbells: [inFrame, besideIt],
        },
        { index: 4, lengthBytes: 0x2000 },
      ],
    });
  }

  override write(...given: Parameters<LabDevice['write']>): void | Promise<void> {
    const done = super.write(...given);
    return this.gate === undefined ? done : this.gate.then(() => done);
  }

  /** The writes that came, without the reads. */
  get writes(): string[] {
    return this.calls.filter((call) => call.startsWith('write'));
  }
}

export interface BellLab extends AsyncDisposable {
  readonly device: BellDevice;
  readonly server: DeviceServer;
  readonly client: VfioUserClient;
  connect(): Promise<VfioUserClient>;
  /** The eventfds of BAR0 as a client gets them; closed with the lab. */
  bells(client?: VfioUserClient): Promise<Readonly<Record<BellName, Fd>>>;
}

export async function startBellLab(options: Partial<ServeDeviceOptions> = {}): Promise<BellLab> {
  const device = new BellDevice();
  const server = await serveDevice(device, { os: labOs, name: 'bells', ...options });
  const clients: VfioUserClient[] = [];
  const held: Fd[] = [];
  const connect = async () => {
    const [near, far] = labOs.sockets.pair();
    server.attach(labOs.sockets.stream(near));
    const client = await connectVfioUser(labOs.sockets.stream(far), { clock: systemClock });
    clients.push(client);
    return client;
  };
  const client = await connect();
  return {
    device,
    server,
    client,
    connect,
    async bells(from = client) {
      const entries = await from.regionIoFds(0);
      const fds = entries.map(({ fd }) => fd!);
      held.push(...fds);
      return Object.fromEntries(bellOrder.map((name, index) => [name, fds[index]!])) as Record<
        BellName,
        Fd
      >;
    },
    async [Symbol.asyncDispose]() {
      closeAll(held);
      for (const one of clients) one.close();
      await server[Symbol.asyncDispose]();
    },
  };
}
