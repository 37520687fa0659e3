// What the contract suites need: a function over a CounterDevice, and eyes on it.

import type { Clock } from '../../base/clock.js';
import { AssertionFailure } from '../../base/errors.js';
import type { EventOs } from '../../os/event-types.js';
import type { MemoryOs } from '../../os/memory-types.js';
import type { PciFunction, Window } from '../types.js';
import { counterStatusWord } from './counter-device.js';

/** In what functions may differ, by what is underneath. */
export interface FunctionTraits {
  /** Windows have memory that clients map; else all of them are mediated. */
  readonly mapsWindows: boolean;
  /** What clients map is registers of the device, not memory in their place: any of them. */
  readonly mapsRegisters?: boolean;
  /** The function can send PASIDs. */
  readonly pasids: boolean;
  /** Refused DMA and truncated memory are seen here; else only the device knows of them. */
  readonly seesFaults: boolean;
  /** What is mapped stays where it is, whatever its owner does: truncating it changes nothing. */
  readonly pinsMemory?: boolean;
}

export interface CounterFixture extends AsyncDisposable {
  /** Over a CounterDevice with at least 4 frames of the host's page size. */
  readonly fn: PciFunction;
  readonly memory: MemoryOs;
  readonly events: EventOs;
  readonly clock: Clock;
  /** How clients wake the device, where the function has no part in it. */
  readonly wake?: () => void;
}

/** Has the device look at what was stored in its frames. */
export function kick({ fn, wake }: CounterFixture): void {
  if (wake === undefined) fn.kick();
  else wake();
}

/** Region of the frames. */
export const frameRegion = 2;

/** Byte offset of a counter's writable frame in region 2; its status frame follows. */
export function frameOffset(fixture: CounterFixture, index: number): number {
  return 2 * index * fixture.memory.pageBytes;
}

/** A window on the writable frame of one counter, not connected. */
export function openFrame(fixture: CounterFixture, index: number): Promise<Window> {
  const lengthBytes = fixture.memory.pageBytes;
  const ranges = [{ offsetBytes: frameOffset(fixture, index), lengthBytes }];
  const uid = process.getuid!();
  return fixture.fn.openWindow({ region: frameRegion, ranges, access: 'read-write' }, { uid });
}

/** A window on the status frame of one counter, not connected. */
export function openStatus(fixture: CounterFixture, index: number): Promise<Window> {
  const lengthBytes = fixture.memory.pageBytes;
  const ranges = [{ offsetBytes: frameOffset(fixture, index) + lengthBytes, lengthBytes }];
  const uid = process.getuid!();
  return fixture.fn.openWindow({ region: frameRegion, ranges, access: 'read' }, { uid });
}

/** Last value that a counter published, read by the owner of the function. */
export function countOf(fixture: CounterFixture, index: number): Promise<number> {
  const at = frameOffset(fixture, index) + fixture.memory.pageBytes;
  return fixture.fn.registers(frameRegion).read32(at + 4 * counterStatusWord.COUNT);
}

/** Waits until `isTrue`, looking again after every millisecond. */
export async function eventually(
  clock: Clock,
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  deadlineMs = 5000,
): Promise<void> {
  const endMs = clock.nowMs() + deadlineMs;
  while (!(await isTrue())) {
    if (clock.nowMs() > endMs) throw new AssertionFailure(`not in ${deadlineMs} ms: ${what}`);
    await pause(clock, 1);
  }
}

export function pause(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(delayMs, resolve);
  });
}
