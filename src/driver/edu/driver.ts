// The edu driver: QEMU's EDU, real or not, leased whole to one client at a time.
import { LessorError } from '../../base/errors.js';
import { hex } from '../../base/units.js';
import { edu } from '../../device/edu/registers.js';
import type { PciFunction } from '../../function/types.js';
import { within } from '../poll.js';
import { type DriverHost, defineDriver, type RunningDriver } from '../types.js';
import { EduRegisters } from './edu-registers.js';
import { type EduDriverOptions, eduDriverOptions } from './options.js';
import { OwnPage } from './own-page.js';
import { EduSlice } from './slice.js';

/** How long what was under way before may take when the function is brought up. */
const bringUpMsMax = 2000;
const pattern = 0xa5c3_5a3c;

class RunningEdu implements RunningDriver {
  readonly isolation = 'exclusive';
  /** The real one has no reset: neither its own nor, on a root bus, one of its bus. */
  readonly restartsUnreset = true;
  readonly aperture: { readonly start: number; readonly end: number };
  readonly slices: readonly [EduSlice];
  readonly #host: DriverHost;
  readonly #registers: EduRegisters;
  readonly #ownPage: OwnPage;

  constructor(fn: PciFunction, host: DriverHost, { dmaBits }: EduDriverOptions) {
    const { info } = fn;
    this.#host = host;
    this.#registers = new EduRegisters(fn.registers(edu.registerRegion));
    // An address with more bits would be cut, and the transfer go elsewhere.
    const end = Math.min(info.aperture.end, 2 ** dmaBits);
    this.#ownPage = new OwnPage(fn, host, this.#registers, end);
    this.aperture = { start: info.aperture.start, end: this.#ownPage.iova };
    this.slices = [new EduSlice(info, this.#registers, this.#ownPage, host.clock)];
  }

  async restart(): Promise<void> {
    const [slice] = this.slices;
    const isUp = await within(this.#host.clock, bringUpMsMax, (signal) => slice.bringUp(signal));
    if (!isUp) throw new LessorError('DRIVER_FAILED', 'edu does not come to rest');
    await this.#ownPage.fillBuffer(pattern);
    await this.#registers.clear();
    this.#host.log.debug('edu reaches its last page', { iova: hex(this.#ownPage.iova) });
  }

  async stop(): Promise<void> {
    if (this.slices[0].isGranted) await this.#registers.write('STATUS', 0);
  }
}

/** The built-in driver `edu`. */
export const eduDriver = defineDriver<EduDriverOptions>({
  name: 'edu',
  options: eduDriverOptions,
  match: (info) => info.vendorId === edu.vendorId && info.deviceId === edu.deviceId,
  async start(fn, host, options) {
    const running = new RunningEdu(fn, host, options);
    await running.restart();
    return running;
  },
});
