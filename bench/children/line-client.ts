// Round trips over the bare line in JavaScript: the same work as floor/line-client.c.
import { sampleBatches } from '../interleave.js';
import { mapInherited } from '../shared-memory.js';
import { serveSamples } from './sampling.js';

const words = new Uint32Array(mapInherited().buffer);

function roundTrips(count: number): void {
  let number = words[0]!;
  for (let index = 0; index < count; index++) {
    // 0xffffffff would end the responder.
    number = (number + 1) & 0x7fffffff;
    words[0] = number;
    while (words[32] !== number);
  }
}

await serveSamples({
  roundtrip: (sampleCount, batch) => sampleBatches(sampleCount, batch, roundTrips),
});
