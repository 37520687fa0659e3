// Which commands take memory away from the device.
import { VFIO_USER_DEVICE_RESET, VFIO_USER_DMA_UNMAP } from '../../uapi/vfio-user.js';
import type { DmaRange } from '../endpoint.js';
import type { Message } from '../framing.js';
import { decodeUnmap } from './unmap.js';

/**
 * What a command takes away from the device: from its arrival until it was answered, no message
 * may be under way there, or its handler and the client would wait for each other.
 */
export function takenAwayBy({ header, payload }: Message): DmaRange | 'all' | undefined {
  if (header.command === VFIO_USER_DEVICE_RESET) return payload.length === 0 ? 'all' : undefined;
  if (header.command !== VFIO_USER_DMA_UNMAP) return undefined;
  try {
    return decodeUnmap(payload).range;
  } catch {
    return undefined;
  }
}
