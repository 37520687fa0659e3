// Where one connection stands: the state of the device, and whether dirty pages are logged.
import { assert, OsError } from '../../base/errors.js';
import {
  VFIO_USER_REGION_READ,
  VFIO_USER_REGION_WRITE,
  VFIO_USER_REGION_WRITE_MULTI,
} from '../../uapi/vfio-user.js';
import { refuse } from '../checks.js';
import type { EndpointMigration, MigrationState } from '../endpoint.js';
import { migrationPath } from './states.js';

const registerCommands = [
  VFIO_USER_REGION_READ,
  VFIO_USER_REGION_WRITE,
  VFIO_USER_REGION_WRITE_MULTI,
];

export class MigrationSession {
  readonly #migration: EndpointMigration | undefined;
  #state: MigrationState;
  /** Page size in use; undefined: dirty pages are not logged. */
  logPageBytes: number | undefined;

  constructor(migration: EndpointMigration | undefined) {
    this.#migration = migration;
    this.#state = migration?.initialState ?? 'running';
  }

  get state(): MigrationState {
    return this.#state;
  }

  /**
   * Registers stand still while the device's state is copied, and mean nothing in `error`. The
   * specification leaves this open; libvfio-user refuses more.
   *
   * @throws ProtocolError `EINVAL`, OsError `EIO`
   */
  check(command: number): void {
    if (this.#state === 'running' || !registerCommands.includes(command)) return;
    if (this.#state === 'stop-copy') {
      refuse('vfio_user_header.command', 2, `command ${command} while the state is copied`);
    }
    if (this.#state === 'error') throw new OsError('EIO', 'vfio-user', 'the device has failed');
  }

  /**
   * Goes to a state, arc by arc.
   *
   * @param to - Undefined: a state that there is not.
   * @param isLive - Asked before every arc.
   * @throws ProtocolError `EINVAL` where no way leads there; what an arc throws, in `error` then.
   */
  async go(to: MigrationState | undefined, isLive: () => boolean): Promise<void> {
    const migration = this.#migration;
    assert(migration !== undefined, 'the feature was there');
    const { preCopy = false } = migration;
    const path = to === undefined ? undefined : migrationPath(this.#state, to, preCopy);
    if (path === undefined) {
      refuse('vfio_device_feature_mig_state.device_state', 8, `from ${this.#state} to ${to}`);
    }
    for (const next of path) {
      if (!isLive()) throw new OsError('ECANCELED', 'vfio-user', 'not served any more');
      const from = this.#state;
      // Until the arc has been gone, and for good when it fails.
      this.#state = 'error';
      await migration.transition(from, next);
      this.#state = next;
    }
  }

  /** The device was reset. */
  reset(): void {
    this.#state = 'running';
  }
}
