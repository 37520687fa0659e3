// The range of an access to a region, judged.
import { limits } from '../base/limits.js';
import { refuse } from './checks.js';
import type { EndpointRegion } from './endpoint.js';

interface Access {
  readonly offset: number;
  readonly region: number;
  readonly count: number;
}

/** @throws ProtocolError `EINVAL`: no such region, too many bytes, or an end outside of it. */
export function checkRegion(
  name: string,
  regions: readonly EndpointRegion[],
  { offset, region: index, count }: Access,
): EndpointRegion {
  const region = regions[index];
  if (region === undefined) refuse(`${name}.region`, 8, `${index}`);
  if (count > limits.vfioUserDataBytesMax) refuse(`${name}.count`, 12, `${count}`);
  if (offset + count > region.lengthBytes) {
    refuse(`${name}.offset`, 0, `${offset} + ${count} of ${region.lengthBytes}`);
  }
  return region;
}
