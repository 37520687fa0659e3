// Register access in JavaScript: the same work as floor/registers.c.
import { assert } from '../../src/base/errors.js';
import { sampleBatches } from '../interleave.js';
import { mapInherited } from '../shared-memory.js';
import { serveSamples } from './sampling.js';

// Held by the module, as a client program holds a window's view: its address is then a constant
// of the compiled code. Several accesses a turn, so that the loop itself costs little. V8 moves no
// load of a typed array out of a loop and drops no store; `volatile` says so in C.
const registers = new Uint32Array(mapInherited().buffer);

function load(count: number): number {
  // Four sums: one would measure the chain of additions.
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let index = 0; index < count; index += 4) {
    a = (a + registers[0]!) | 0;
    b = (b + registers[1]!) | 0;
    c = (c + registers[2]!) | 0;
    d = (d + registers[3]!) | 0;
  }
  return a + b + c + d;
}

function checkedLoad(count: number): void {
  registers.fill(3, 0, 4);
  assert(load(count) === 3 * count, 'loads were lost');
}

function store(count: number): void {
  for (let index = 0; index < count; index += 4) {
    registers[0] = index;
    registers[1] = index;
    registers[2] = index;
    registers[3] = index;
  }
}

await serveSamples({
  load: (sampleCount, batch) => sampleBatches(sampleCount, batch, checkedLoad),
  store: (sampleCount, batch) => sampleBatches(sampleCount, batch, store),
});
