// What a slice can give a request, and how its windows are shown then. Pure.
import { assert } from '../base/errors.js';
import type { Isolation, Revocation } from '../base/labels.js';
import type { Slice } from '../driver/types.js';
import type { FunctionInfo, WindowTraits } from '../function/types.js';
import type { Aperture } from '../lease/iova-windows.js';
import type { Offer } from '../policy/types.js';
import { deviceWindows } from './device-windows.js';
import { isServed } from './isolation.js';
import { type LeaseLayout, layoutOf, windowsOf } from './layout.js';

/** Memory that stands in for registers. */
const plainWindows: WindowTraits = { direct: false, harmful: false, combining: false };

export interface OfferFacts {
  readonly info: FunctionInfo;
  /** Of this machine. */
  readonly pageBytes: number;
}

function revocationsOf({ windows }: Slice, { info, pageBytes }: OfferFacts): readonly Revocation[] {
  const isMappable = windows.every((window) => window.mappable);
  const canBeGiven = deviceWindows(windows, info, pageBytes) !== undefined;
  return [
    ...(isMappable ? (['kernel'] as const) : []),
    'mediated',
    ...(canBeGiven ? (['process'] as const) : []),
  ];
}

/** @param isolation - Of every lease of the function. @param aperture - That leases can have. */
export function offerOf(
  slice: Slice,
  facts: OfferFacts,
  isolation: Isolation,
  aperture: Aperture,
): Offer {
  const { info } = facts;
  return {
    isolation,
    served: isServed(info),
    revocations: revocationsOf(slice, facts),
    windows: info.windows ?? plainWindows,
    vectors: slice.vectors.length,
    iovaPageBytes: info.iovaPageBytes,
    apertureBytes: aperture.end - aperture.start,
    windowBytes: slice.windows.reduce(
      (sum, window) => sum + (window.mappable ? window.lengthBytes : 0),
      0,
    ),
  };
}

/** The virtual BARs of a lease that is granted with one of the revocations on offer. */
export function layoutFor(
  { windows }: Pick<Slice, 'windows'>,
  { info, pageBytes }: OfferFacts,
  revocation: Revocation,
  vectorCount: number,
): LeaseLayout {
  if (revocation !== 'process') return layoutOf(windowsOf(windows, info), vectorCount);
  const given = deviceWindows(windows, info, pageBytes);
  assert(given !== undefined, 'a device is given where all windows of the slice can be mapped');
  return layoutOf(given, vectorCount, 'in place');
}
