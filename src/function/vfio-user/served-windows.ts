// Windows of a served function: none has memory, all are reached by message. A range is of one
// window at a time, and a window is of one life of the server.
import { LessorError } from '../../base/errors.js';
import { hex } from '../../base/units.js';
import { planWindow } from '../emulated/frame-map.js';
import { type DeviceAccess, MessageWindow } from '../message-window.js';
import type { BackingSpec, FunctionInfo, Window } from '../types.js';

export class ServedWindows {
  readonly #device: DeviceAccess;
  readonly #open = new Map<MessageWindow, BackingSpec>();

  constructor(device: DeviceAccess) {
    this.#device = device;
  }

  /** @throws LessorError `INVALID_ARGUMENT` for ranges that are no window, or part of another. */
  open(spec: BackingSpec, info: FunctionInfo): Window {
    const { lengthBytes } = planWindow(spec, info.regions, [], info.reserved);
    checkApart(spec, [...this.#open.values()]);
    const window = new MessageWindow(spec, lengthBytes, this.#device, (which) =>
      this.#open.delete(which),
    );
    this.#open.set(window, spec);
    return window;
  }

  /** Cuts every window off: accesses that are not under way yet reach no server any more. */
  async cut(): Promise<void> {
    await Promise.all([...this.#open.keys()].map((window) => window.detach()));
  }

  async disposeAll(): Promise<void> {
    await Promise.all([...this.#open.keys()].map((window) => window[Symbol.asyncDispose]()));
  }
}

function checkApart(spec: BackingSpec, others: readonly BackingSpec[]): void {
  for (const [index, range] of spec.ranges.entries()) {
    const taken = [
      ...spec.ranges.slice(0, index),
      ...others.filter(({ region }) => region === spec.region).flatMap(({ ranges }) => ranges),
    ];
    const end = range.offsetBytes + range.lengthBytes;
    const meets = taken.some(
      (other) =>
        other.offsetBytes < end && range.offsetBytes < other.offsetBytes + other.lengthBytes,
    );
    if (!meets) continue;
    const what = `${hex(range.offsetBytes)} of region ${spec.region}`;
    throw new LessorError('INVALID_ARGUMENT', `${what} is part of another window`);
  }
}
