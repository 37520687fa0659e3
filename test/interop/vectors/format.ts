// How recorded traffic is kept: messages as they were on the wire, with who sent them.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rootPath } from '../../tools/root.js';

export interface RecordedMessage {
  readonly from: 'client' | 'server';
  /** Descriptors that came with it. */
  readonly fds: number;
  readonly hex: string;
}

export interface Recording {
  /** What the recorded session was about. */
  readonly name: string;
  /** Version of the QEMU that was the client. */
  readonly qemu: string;
  readonly messages: readonly RecordedMessage[];
}

export const vectorFolder = rootPath('test/interop/vectors');

export function readRecordings(): readonly Recording[] {
  return readdirSync(vectorFolder)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => JSON.parse(readFileSync(join(vectorFolder, name), 'utf8')) as Recording);
}
