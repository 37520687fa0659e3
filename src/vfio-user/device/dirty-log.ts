// Which pages the device wrote: one bit for each 4 KiB, made for what is written alone.
import { OsError } from '../../base/errors.js';

const pageBytes = 4096;
/** Pages of one block of bits: 2 MiB. */
const blockPages = 512;

function fail(detail: string): never {
  throw new OsError('EINVAL', 'vfio-user', detail);
}

function isPageSize(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0 && Number.isInteger(Math.log2(value));
}

export class DirtyLog {
  readonly #blocks = new Map<number, Uint32Array>();
  #isOn = false;
  #blockSeen = -1;
  #bits: Uint32Array = new Uint32Array(0);

  get isOn(): boolean {
    return this.#isOn;
  }

  /** @returns The page size in use. @throws OsError `EINVAL` for a size that is no power of two. */
  start(askedBytes: number): number {
    if (!isPageSize(askedBytes)) fail(`pages of ${askedBytes} bytes`);
    this.#clear();
    this.#isOn = true;
    return Math.max(askedBytes, pageBytes);
  }

  stop(): void {
    this.#clear();
    this.#isOn = false;
  }

  /** One byte of this page is about to be written. Only while on. */
  mark(iova: number): void {
    const page = Math.floor(iova / pageBytes);
    const block = Math.floor(page / blockPages);
    if (block !== this.#blockSeen) {
      let bits = this.#blocks.get(block);
      if (bits === undefined) {
        bits = new Uint32Array(blockPages / 32);
        this.#blocks.set(block, bits);
      }
      this.#bits = bits;
      this.#blockSeen = block;
    }
    const index = page % blockPages;
    this.#bits[index >>> 5]! |= 1 << (index & 31);
  }

  /** @see EndpointDirtyPages.report */
  report(iova: number, lengthBytes: number, askedBytes: number): Uint8Array {
    if (!this.#isOn) fail('dirty pages are not logged');
    if (!isPageSize(askedBytes) || askedBytes > lengthBytes) fail(`pages of ${askedBytes} bytes`);
    const count = Math.ceil(lengthBytes / askedBytes);
    const bitmap = new Uint8Array(Math.ceil(count / 64) * 8);
    const firstPage = Math.floor(iova / pageBytes);
    const endPage = Math.ceil((iova + lengthBytes) / pageBytes);
    for (const [block, bits] of this.#blocks) {
      const from = Math.max(firstPage, block * blockPages);
      const end = Math.min(endPage, (block + 1) * blockPages);
      for (let page = from; page < end; page++) {
        const index = page % blockPages;
        const bit = 1 << (index & 31);
        if ((bits[index >>> 5]! & bit) === 0) continue;
        bits[index >>> 5]! &= ~bit;
        setBits(bitmap, page * pageBytes - iova, lengthBytes, askedBytes);
      }
    }
    return bitmap;
  }

  #clear(): void {
    this.#blocks.clear();
    this.#blockSeen = -1;
  }
}

/** Every reported page that a 4 KiB page at this offset touches; smaller ones are several. */
function setBits(bitmap: Uint8Array, at: number, lengthBytes: number, askedBytes: number): void {
  const first = Math.floor(Math.max(at, 0) / askedBytes);
  const last = Math.floor((Math.min(at + pageBytes, lengthBytes) - 1) / askedBytes);
  for (let page = first; page <= last; page++) bitmap[page >> 3]! |= 1 << (page & 7);
}
