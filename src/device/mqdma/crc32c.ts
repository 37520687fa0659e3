// CRC-32C (Castagnoli, reflected 0x82f63b78), slicing by 8 over little-endian words.

const tables = makeTables();

function makeTables(): Uint32Array {
  const table = new Uint32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) * 0x82f63b78);
    table[byte] = crc;
  }
  for (let index = 256; index < table.length; index++) {
    const previous = table[index - 256]!;
    table[index] = (previous >>> 8) ^ table[previous & 0xff]!;
  }
  return table;
}

/**
 * Continues a CRC over bytes.
 *
 * @param crc - CRC of what precedes; 0 at the start.
 * @param u8 - Byte view of a buffer.
 * @param u32 - Word view of the same buffer from its start.
 * @param offsetBytes - First byte.
 * @param lengthBytes - At least 0.
 * @returns The CRC as an unsigned 32-bit number.
 */
export function crc32c(
  crc: number,
  u8: Uint8Array,
  u32: Uint32Array,
  offsetBytes: number,
  lengthBytes: number,
): number {
  let state = ~crc;
  let at = offsetBytes;
  const end = offsetBytes + lengthBytes;
  const t = tables;
  while (at < end && (at & 7) !== 0) state = (state >>> 8) ^ t[(state ^ u8[at++]!) & 0xff]!;
  let word = at >>> 2;
  const wordEnd = word + ((end - at) >>> 3) * 2;
  for (; word < wordEnd; word += 2) {
    const low = state ^ u32[word]!;
    const high = u32[word + 1]!;
    state =
      t[1792 + (low & 0xff)]! ^
      t[1536 + ((low >>> 8) & 0xff)]! ^
      t[1280 + ((low >>> 16) & 0xff)]! ^
      t[1024 + (low >>> 24)]! ^
      t[768 + (high & 0xff)]! ^
      t[512 + ((high >>> 8) & 0xff)]! ^
      t[256 + ((high >>> 16) & 0xff)]! ^
      t[high >>> 24]!;
  }
  if (wordEnd * 4 > at) at = wordEnd * 4;
  while (at < end) state = (state >>> 8) ^ t[(state ^ u8[at++]!) & 0xff]!;
  return ~state >>> 0;
}
