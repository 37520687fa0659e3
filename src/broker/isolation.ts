// The isolation that a function's leases are shown with.
import { type Isolation, isolationUnderServer } from '../base/labels.js';
import type { FunctionInfo } from '../function/types.js';

/** Another process serves the function. */
export function isServed({ underside }: FunctionInfo): boolean {
  return underside === 'vfio-user';
}

/** @param isolation - As the driver gives it. */
export function shownIsolation(info: FunctionInfo, isolation: Isolation): Isolation {
  return isServed(info) ? isolationUnderServer(isolation) : isolation;
}
