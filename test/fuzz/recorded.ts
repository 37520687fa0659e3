// Commands as QEMU and our server for it really sent them, beside those of our own client.
import { headerBytes } from '../../src/vfio-user/framing.js';
import { readRecordings } from '../interop/vectors/format.js';
import type { Shape } from './mutate.js';

export interface RecordedCommands {
  /** QEMU's proposals. */
  readonly versions: readonly Shape[];
  /** Its other commands, in which no two are alike. */
  readonly ofClient: readonly Shape[];
  /** Those of the server: DMA by message. */
  readonly ofServer: readonly Shape[];
}

function shapeOf(bytes: Buffer, fdCount: number): Shape {
  return {
    messageId: bytes.readUInt16LE(0),
    command: bytes.readUInt16LE(2),
    flags: bytes.readUInt32LE(8),
    errno: 0,
    sizeError: 0,
    payload: new Uint8Array(bytes.subarray(headerBytes)),
    fdCount,
  };
}

/** Each command once, whatever its id. */
export function recordedCommands(): RecordedCommands {
  const found = new Map<string, { readonly from: string; readonly shape: Shape }>();
  for (const { from, fds, hex } of readRecordings().flatMap(({ messages }) => messages)) {
    const shape = shapeOf(Buffer.from(hex, 'hex'), fds);
    if ((shape.flags & 0xf) === 0) found.set(`${from} ${fds} ${hex.slice(4)}`, { from, shape });
  }
  const all = [...found.values()];
  const ofClient = all.filter(({ from }) => from === 'client').map(({ shape }) => shape);
  return {
    versions: ofClient.filter(({ command }) => command === 1),
    ofClient: ofClient.filter(({ command }) => command !== 1),
    ofServer: all.filter(({ from }) => from === 'server').map(({ shape }) => shape),
  };
}
