// A device node whose ioctls a test answers: it records each call, and lets the test follow the
// pointers in it.
import type { Errno } from '../../base/errno.js';
import { assert, OsError } from '../../base/errors.js';
import { Fd } from '../../os/fd.js';
import type { IoctlOs } from '../../os/ioctl-types.js';
import { FakeFiles } from '../../os/testing/fake-files.js';

export interface IoctlCall {
  readonly fd: number;
  readonly request: number;
  /** As it was given; empty for a number. */
  readonly bytes: Uint8Array;
  readonly value: number | undefined;
}

/**
 * Answers a call, writing into the bytes; what is no number stands for 0.
 *
 * @throws OsError as the kernel would
 */
export type IoctlAnswer = (bytes: Uint8Array, call: IoctlCall) => unknown;

/** One read or write at an offset. @returns Bytes moved. @throws OsError as the kernel would */
export type FakeTransfer = (bytes: Uint8Array, offsetBytes: number, descriptor: number) => number;

function refuseTransfer(): never {
  throw new OsError('ENXIO', 'pread');
}

const firstAddress = 0x7f00_0000_0000n;

export class FakeIoctl implements IoctlOs {
  readonly files = new FakeFiles();
  readonly calls: IoctlCall[] = [];
  readonly opened: { readonly path: string; readonly flags: number }[] = [];
  /** Answers reads at an offset; ENXIO, as of no device, until a test sets it. */
  onReadAt: FakeTransfer = refuseTransfer;
  /** As `onReadAt`, for writes. */
  onWriteAt: FakeTransfer = refuseTransfer;
  readonly #answers = new Map<number, IoctlAnswer>();
  readonly #views = new Map<bigint, Uint8Array>();
  readonly #incoming = new Map<number, Uint8Array>();

  /** What a request answers from now on; without one it answers ENOTTY. */
  on(request: number, answer: IoctlAnswer): void {
    this.#answers.set(request, answer);
  }

  /** A request fails from now on. */
  fail(request: number, errno: Errno): void {
    this.on(request, () => {
      throw new OsError(errno, 'ioctl');
    });
  }

  /** The bytes that a pointer leads to. */
  at(address: bigint): Uint8Array {
    const view = this.#views.get(address);
    assert(view !== undefined, `no bytes at ${address}`);
    return view;
  }

  /** The last call with a request. */
  last(request: number): IoctlCall {
    const call = this.calls.findLast((one) => one.request === request);
    assert(call !== undefined, `no call 0x${request.toString(16)}`);
    return call;
  }

  /** What the next read of a descriptor gives. */
  receive(descriptor: number, bytes: Uint8Array): void {
    this.#incoming.set(descriptor, bytes);
  }

  ioctl(fd: Fd, request: number, argument: Uint8Array | number): number {
    const isNumber = typeof argument === 'number';
    const bytes = isNumber ? new Uint8Array(0) : argument;
    const value = isNumber ? argument : undefined;
    const call = { fd: fd.number, request, bytes: bytes.slice(), value };
    this.calls.push(call);
    const answer = this.#answers.get(request);
    if (answer === undefined) throw new OsError('ENOTTY', 'ioctl');
    const result = answer(bytes, call);
    return typeof result === 'number' ? result : 0;
  }

  open(path: string, flags: number): Fd {
    this.opened.push({ path, flags });
    return this.files.create('other', 0);
  }

  adopt(descriptor: number): Fd {
    return new Fd(this.files, descriptor);
  }

  read(fd: Fd, into: Uint8Array): number {
    const bytes = this.#incoming.get(fd.number) ?? new Uint8Array(0);
    into.set(bytes);
    this.#incoming.delete(fd.number);
    return bytes.length;
  }

  write(_fd: Fd, bytes: Uint8Array): number {
    return bytes.length;
  }

  readAt(fd: Fd, into: Uint8Array, offsetBytes: number): number {
    return this.onReadAt(into, offsetBytes, fd.number);
  }

  writeAt(fd: Fd, bytes: Uint8Array, offsetBytes: number): number {
    return this.onWriteAt(bytes, offsetBytes, fd.number);
  }

  isReadable(fd: Fd): boolean {
    return this.#incoming.has(fd.number);
  }

  addressOf(view: Uint8Array): bigint {
    const address = firstAddress + BigInt(this.#views.size) * 0x10_0000n;
    this.#views.set(address, view);
    return address;
  }
}
