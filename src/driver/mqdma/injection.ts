// Faults that mqdma can be made to have, by name.
import { LessorError } from '../../base/errors.js';
import { toCount } from '../../base/units.js';
import { control, type queueControl } from '../../device/mqdma/datasheet.js';
import type { Registers } from '../../function/types.js';
import type { QueueSlice } from './queue-slice.js';

type InjectionRegister = Extract<keyof typeof queueControl, `INJECT_${string}`>;

/** Name of a fault of one slice, and its register. */
const sliceFaults: Readonly<Record<string, InjectionRegister>> = {
  'never-idle': 'INJECT_NEVER_IDLE',
  'dma-delay-ms': 'INJECT_DMA_DELAY_MS',
  'lost-interrupts': 'INJECT_LOST_INTERRUPTS',
};

/** The faults that `injectFault` knows. `dead` is the function's: 1 until reset, 2 for good. */
export const injections = [...Object.keys(sliceFaults), 'dead'] as const;

/** @throws LessorError `INVALID_ARGUMENT`, `UNSUPPORTED` */
export async function injectFault(
  registers: Registers,
  hasInjection: boolean,
  slice: QueueSlice,
  fault: string,
  value: number,
): Promise<void> {
  const register = Object.hasOwn(sliceFaults, fault) ? sliceFaults[fault] : undefined;
  if (register === undefined && fault !== 'dead') {
    throw new LessorError('INVALID_ARGUMENT', `fault ${fault} is none of ${injections.join(', ')}`);
  }
  if (!hasInjection) throw new LessorError('UNSUPPORTED', 'the function injects no faults');
  const checked = toCount(value, 'value', 0xffffffff);
  if (register === undefined) await registers.write32(control.INJECT_DEAD, checked);
  else await slice.registers.write(register, checked);
}
