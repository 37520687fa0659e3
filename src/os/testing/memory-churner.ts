// A worker whose every window is truncated under it.
import { assert } from '../../base/errors.js';
import { createMemoryOs } from '../memory.js';
import { loadNative } from '../native.js';

const os = createMemoryOs(loadNative());
for (let round = 0; round < 1000; round++) {
  const fd = os.create('lessor-test', 8192);
  const spec = { offsetBytes: 0, lengthBytes: 8192, writable: true, guard: 'ones' } as const;
  using mapping = os.map(fd, spec);
  os.truncate(fd, 0);
  fd.close();
  const words = new Uint32Array(mapping.buffer);
  assert(!mapping.revoked && words[0] === 0xffff_ffff && words[2047] === 0xffff_ffff, 'ones');
  assert(mapping.revoked, 'the flag is set');
}
