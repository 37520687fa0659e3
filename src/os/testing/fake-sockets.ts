// Stream sockets without a kernel: the real StreamSocket over system calls in memory.
import type { Clock } from '../../base/clock.js';
import { OsSockets } from '../sockets.js';
import { FakeClock } from './fake-clock.js';
import { FakeKernel } from './fake-kernel.js';

/** Pairs, paths and descriptors live in the kernel given; `kernel.create` makes some to pass. */
export class FakeSockets extends OsSockets {
  readonly kernel: FakeKernel;

  constructor(kernel: FakeKernel = new FakeKernel(), clock: Clock = new FakeClock()) {
    super(kernel, clock, kernel.socketFiles);
    this.kernel = kernel;
  }
}
