// How a served device moves: stops, gives its state in pieces, takes one over, starts again.
import { LessorError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import {
  PCI_CFG_SPACE_SIZE,
  PCI_CLASS_REVISION,
  PCI_COMMAND,
  PCI_SUBSYSTEM_VENDOR_ID,
} from '../../device/config-space.js';
import type { DeviceMigration } from '../../device/types.js';
import type { EndpointMigration, MigrationState } from '../endpoint.js';
import { decodeState, encodeState, type StateSection, stateKind } from './device-state.js';
import type { ServedDevice } from './served-device.js';
import type { VectorState } from './vector-state.js';

const noBytes = new Uint8Array(0);
const noPlace = { region: 0, offsetBytes: 0 } as const;

function pendingOf(vectors: VectorState): Uint8Array {
  return Uint8Array.from({ length: vectors.count }, (_, vector) =>
    vectors.isPending(vector) ? 1 : 0,
  );
}

/** Parts of configuration space that say which device this is: they must agree. */
const identity = [
  [0, PCI_COMMAND],
  [PCI_CLASS_REVISION, PCI_CLASS_REVISION + 4],
  [PCI_SUBSYSTEM_VENDOR_ID, PCI_SUBSYSTEM_VENDOR_ID + 4],
] as const;

export class MigrationPort implements EndpointMigration {
  /** All of the state is given once the device has stopped. */
  readonly preCopy = false;
  readonly #served: ServedDevice;
  readonly #migration: DeviceMigration;
  #isStopped = false;
  #outgoing: Uint8Array | undefined;
  #sentBytes = 0;
  #incoming: Uint8Array[] = [];
  #incomingBytes = 0;

  constructor(served: ServedDevice, migration: DeviceMigration) {
    this.#served = served;
    this.#migration = migration;
  }

  async transition(from: MigrationState, to: MigrationState): Promise<void> {
    await this.#served.inTurn(() => this.#transition(from, to));
  }

  async #transition(from: MigrationState, to: MigrationState): Promise<void> {
    switch (`${from} ${to}`) {
      case 'running stop':
        // What was rung here is not rung again at the other server.
        await this.#served.answerDoorbells();
        this.#isStopped = true;
        this.#served.loop.stop();
        await this.#migration.stop();
        break;
      case 'stop running':
        this.restart();
        break;
      case 'stop stop-copy':
        this.#outgoing = this.#save();
        this.#sentBytes = 0;
        break;
      case 'stop-copy stop':
        this.#outgoing = undefined;
        break;
      case 'stop resuming':
        this.#dropIncoming();
        break;
      case 'resuming stop':
        this.#load();
        break;
      default:
        throw new LessorError('UNSUPPORTED', `migration from ${from} to ${to}`);
    }
  }

  readData(lengthBytes: number): Uint8Array {
    const outgoing = this.#outgoing ?? noBytes;
    const part = outgoing.slice(this.#sentBytes, this.#sentBytes + lengthBytes);
    this.#sentBytes += part.length;
    return part;
  }

  /** @throws LessorError `QUOTA_EXCEEDED` over `limits.vfioUserStateBytesMax`. */
  writeData(bytes: Uint8Array): void {
    const totalBytes = this.#incomingBytes + bytes.length;
    if (totalBytes > limits.vfioUserStateBytesMax) {
      throw new LessorError('QUOTA_EXCEEDED', `a device state of ${totalBytes} bytes`);
    }
    if (bytes.length === 0) return;
    this.#incoming.push(bytes.slice());
    this.#incomingBytes = totalBytes;
  }

  /** The device runs again, whatever its migration was at: after a reset, or for a new client. */
  restart(): void {
    this.#outgoing = undefined;
    this.#dropIncoming();
    if (!this.#isStopped) return;
    this.#isStopped = false;
    this.#migration.start();
    this.#served.loop.start();
  }

  #dropIncoming(): void {
    this.#incoming = [];
    this.#incomingBytes = 0;
  }

  /** Everything in the one order that `decodeState` wants, the device's own last. */
  #sections(device: Uint8Array): StateSection[] {
    const { config, interrupts, plan, frames } = this.#served;
    const { table, msix, msi, pin } = interrupts;
    const own = (kind: StateSection['kind'], bytes: Uint8Array) => ({ kind, ...noPlace, bytes });
    return [
      own(stateKind.config, config.read(0, PCI_CFG_SPACE_SIZE)),
      own(stateKind.msixTable, table.bytes),
      own(stateKind.msixPending, pendingOf(msix)),
      own(stateKind.msiPending, pendingOf(msi)),
      own(stateKind.pin, Uint8Array.of(pin.isHigh ? 1 : 0)),
      ...plan.regions.flatMap(({ index, frames: specs }) =>
        specs.map((frame) => ({
          kind: stateKind.frame,
          region: index,
          offsetBytes: frame.offsetBytes,
          bytes: frames.bytes(index, frame),
        })),
      ),
      own(stateKind.device, device),
    ];
  }

  #save(): Uint8Array {
    return encodeState(this.#sections(this.#migration.save()));
  }

  /**
   * Checks all of it, then has the device take its part, which checks that too; what the server
   * keeps cannot fail after that. @throws LessorError `INVALID_ARGUMENT`
   */
  #load(): void {
    const state = new Uint8Array(this.#incomingBytes);
    let at = 0;
    for (const part of this.#incoming) {
      state.set(part, at);
      at += part.length;
    }
    this.#dropIncoming();
    const expected = this.#sections(noBytes);
    const parts = decodeState(state, expected);
    const [config, table, msixPending, msiPending, pin] = parts as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    this.#checkIdentity(config, expected[0]!.bytes);
    this.#migration.load(parts.at(-1)!.slice());
    expected.forEach(({ kind, bytes }, index) => {
      // Frames are live views.
      if (kind === stateKind.frame) bytes.set(parts[index]!);
    });
    this.#loadRegisters(config, table, msixPending, msiPending, pin);
  }

  #loadRegisters(
    config: Uint8Array,
    table: Uint8Array,
    msixPending: Uint8Array,
    msiPending: Uint8Array,
    pin: Uint8Array,
  ): void {
    const { interrupts } = this.#served;
    this.#served.config.write(0, config);
    interrupts.table.write(0, table);
    msixPending.forEach((value, vector) => {
      interrupts.msix.setPending(vector, value === 1);
    });
    msiPending.forEach((value, vector) => {
      interrupts.msi.setPending(vector, value === 1);
    });
    interrupts.setIntx(pin[0] === 1);
    interrupts.configChanged();
  }

  #checkIdentity(theirs: Uint8Array, ours: Uint8Array): void {
    for (const [start, end] of identity) {
      for (let at = start; at < end; at++) {
        if (theirs[at] === ours[at]) continue;
        throw new LessorError('INVALID_ARGUMENT', 'device state: of another device');
      }
    }
  }
}
