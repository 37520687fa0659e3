// What an embedding program gives to createBroker.
import type { Logger } from '../base/log.js';
import type { Driver } from '../driver/types.js';
import type { PciFunction } from '../function/types.js';
import type { HelperPool } from '../os/helper-types.js';
import type { Os } from '../os/os-types.js';

/** What the operator allows beyond the defaults; all off by default. */
export interface Switches {
  /** Leases whose clients can reach each other's memory. */
  readonly allowCooperative: boolean;
  /** Client memory without F_SEAL_SHRINK, for VM monitors that seal nothing. */
  readonly allowUnsealedMemory: boolean;
  /** Mapped registers of a device for users that are not trusted, on kernels that they can harm. */
  readonly forceDmaBufWindows: boolean;
  /** The whole device for clients that ask for it, who are killed to take it back. */
  readonly allowProcess: boolean;
  /** The admin method Inject. */
  readonly faultInjection: boolean;
}

/** Deadlines of one reclaim phase and of what surrounds it, in milliseconds. */
export interface Deadlines {
  readonly grantMs: number;
  readonly connectMs: number;
  readonly detachMs: number;
  /** How long a process that gave a whole device back may take to end by itself. */
  readonly holderLeaveMs: number;
  /** How long such a process may take to die once it was killed. */
  readonly holderDieMs: number;
  readonly zapMs: number;
  readonly quiesceMs: number;
  readonly resetSliceMs: number;
  readonly disarmMs: number;
  readonly ungrantMs: number;
  readonly unmapMs: number;
  readonly resetFunctionMs: number;
  /** How long an ended lease's endpoint goes on answering ENODEV. */
  readonly fencedEndpointMs: number;
  /** How long a peer of a listening lease may take to negotiate before it is dropped. */
  readonly listenNegotiateMs: number;
  /** How long a listening lease that nobody else holds (`holder: 'fd'`) waits for its peer. */
  readonly listenConnectMs: number;
}

export const defaultDeadlines: Deadlines = {
  grantMs: 2000,
  connectMs: 2000,
  detachMs: 1000,
  holderLeaveMs: 1000,
  holderDieMs: 5000,
  zapMs: 500,
  quiesceMs: 500,
  resetSliceMs: 500,
  disarmMs: 500,
  ungrantMs: 500,
  unmapMs: 1000,
  resetFunctionMs: 5000,
  fencedEndpointMs: 5000,
  listenNegotiateMs: 5000,
  listenConnectMs: 60_000,
};

/** What waits for the device, its driver and the kernel; the rest waits for clients. */
const deviceDeadlines = [
  'grantMs',
  'connectMs',
  'detachMs',
  'holderDieMs',
  'zapMs',
  'quiesceMs',
  'resetSliceMs',
  'disarmMs',
  'ungrantMs',
  'unmapMs',
  'resetFunctionMs',
] as const satisfies readonly (keyof Deadlines)[];

/** The default deadlines for a machine or a device that is `factor` times as slow as usual. */
export function deadlinesWithPatience(factor: number): Deadlines {
  const longer = deviceDeadlines.map((name) => [name, defaultDeadlines[name] * factor]);
  return { ...defaultDeadlines, ...Object.fromEntries(longer) };
}

export interface BrokerOptions {
  readonly os: Os;
  readonly helpers: HelperPool;
  /** Owned by the broker from here on: disposed when it closes. */
  readonly fn: PciFunction;
  readonly driver: Driver<unknown>;
  readonly driverOptions?: unknown;
  /** Control socket; the admin socket is beside it. Directory must exist. */
  readonly socketPath: string;
  readonly adminPath: string;
  /** Mode of the control socket, default 0o660. */
  readonly socketMode?: number;
  readonly switches?: Partial<Switches>;
  readonly deadlines?: Partial<Deadlines>;
  readonly log: Logger;
  /**
   * Called when something that lessor guarantees did not hold. The embedding program must end;
   * the broker has begun to take every lease back.
   */
  readonly onBug?: (error: unknown) => void;
}
