// How a sequence begins: with something to work on, more often than chance would have it.
import type { Command } from './command.js';
import { faultQueueAlloc } from './commands/faults.js';
import { ioasAlloc } from './commands/ioas.js';
import { mockDomain } from './commands/mock.js';
import { vfioIoas } from './commands/options.js';
import { attachDevice, bindDevice, openDevice } from './commands/vfio.js';
import { dataAt } from './memory.js';
import type { Operation } from './operation.js';

function right<A>(command: Command<A>, args: A): Operation {
  return { command, args, frame: { kind: 'right' } } as unknown as Operation;
}

const ioas = right(ioasAlloc, { flags: 0 });
const container = right(vfioIoas, { ioas: { pick: 0 }, op: 1, reserved: 0 });
const queue = right(faultQueueAlloc, { flags: 0 });
const device = (flags: 0 | 1 | 4 | 5, pick = 0) => right(mockDomain, { target: { pick }, flags });

const open = right(openDevice, {});
const bind = right(bindDevice, { file: 0, flags: 0, iommufd: 'context', token: dataAt });
const attach = right(attachDevice, { file: 0, flags: 0, target: { pick: 0 }, pasid: 0 });

/** Chosen from alike often. */
export const openings: readonly (readonly Operation[])[] = [
  [],
  [ioas],
  [ioas, ioas],
  [ioas, ioas, container],
  [ioas, device(0)],
  [ioas, ioas, device(4)],
  [ioas, ioas, queue, device(4)],
  [ioas, ioas, device(0), device(4, 1)],
  [ioas, ioas, container, device(1)],
  [ioas, queue, device(5), device(4)],
  [open, ioas, bind],
  [open, ioas, ioas, bind, attach],
  [open, open, ioas, queue, bind, attach],
  [open, ioas, ioas, container, bind, attach],
];

/** Those that use only some commands. */
export function openingsOf(commands: readonly Command<never>[]): readonly (readonly Operation[])[] {
  return openings.filter((steps) => steps.every(({ command }) => commands.includes(command)));
}
