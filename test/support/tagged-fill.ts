// A fill whose descriptor carries a PASID of the client's choice, as no queue library writes it.
import type { Lease } from '../../src/client/lease.js';
import { Queue } from '../../src/client/mqdma/index.js';
import { descriptorFlag, descriptorWord } from '../../src/device/mqdma/datasheet.js';

/** The lease, but for the ring memory, which is shown to `look`. The rings are the client's own. */
function spiedOn(lease: Lease, look: (words: Uint32Array) => void): Lease {
  const memory = {
    allocate: async (lengthBytes: number) => {
      const rings = await lease.memory.allocate(lengthBytes);
      look(rings.u32);
      return rings;
    },
  };
  return new Proxy(lease, {
    get: (target, name) => {
      if (name === 'memory') return memory;
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/**
 * Fills memory of the lease, or what is at `destination`, under the tag.
 *
 * @returns 'done', or the code of the error and the first byte of the lease's own memory.
 */
export async function fillTagged(lease: Lease, tag: number, destination?: number): Promise<string> {
  let words: Uint32Array = new Uint32Array(0);
  const queue = await Queue.create(
    spiedOn(lease, (rings) => {
      words = rings;
    }),
    { entries: 4 },
  );
  const data = await lease.memory.allocate(4096);
  const at = destination ?? data.iova;
  const done = queue.fill({ destination: at, lengthBytes: 64, pattern: 0x01010101_01010101n });
  words[descriptorWord.OPCODE] = (words[descriptorWord.OPCODE] ?? 0) | descriptorFlag.PASID_TAG;
  words[descriptorWord.PASID] = tag;
  const outcome = await done.then(
    () => (destination !== undefined || data.u8[63] === 1 ? 'done' : 'nothing'),
    (error: { code?: string }) => `${error.code ?? String(error)} ${data.u8[0]}`,
  );
  await queue[Symbol.asyncDispose]();
  await data[Symbol.asyncDispose]();
  return outcome;
}
