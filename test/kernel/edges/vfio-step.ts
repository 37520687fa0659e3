// Steps on the character device of the one VFIO device, for edges.
import {
  attachDevice,
  bindDevice,
  closeDevice,
  detachDevice,
  openDevice,
} from '../commands/vfio.js';
import type { Frame } from '../frame.js';
import { dataAt } from '../memory.js';
import type { Operation } from '../operation.js';
import { step } from './edge.js';

type BindArgs = Parameters<typeof bindDevice.draft>[0];

/** Files are counted in the order in which they were opened, without those that were closed. */
export const openFile = step(openDevice, {});

export function bind(more: Partial<BindArgs> = {}, frame?: Frame): Operation {
  return step(bindDevice, { file: 0, flags: 0, iommufd: 'context', token: dataAt, ...more }, frame);
}

type AttachArgs = Parameters<typeof attachDevice.draft>[0];

export function attach(
  to: number,
  more: Partial<Omit<AttachArgs, 'target'>> = {},
  frame?: Frame,
): Operation {
  return step(attachDevice, { file: 0, flags: 0, pasid: 0, ...more, target: { raw: to } }, frame);
}

export function detach(
  more: Partial<Parameters<typeof detachDevice.draft>[0]> = {},
  frame?: Frame,
): Operation {
  return step(detachDevice, { file: 0, flags: 0, pasid: 0, ...more }, frame);
}

export function closeFile(file = 0): Operation {
  return step(closeDevice, { file });
}
