// Object ids of one context: one namespace, lowest free number from 1.
import { OsError } from '../../base/errors.js';

export class ObjectTable<T extends object> {
  /** Index is the id; a hole is a free id. */
  readonly #objects: (T | undefined)[] = [undefined];
  #lowestFree = 1;

  /** The id that the next `add` will give. */
  add(object: T): number {
    const id = this.#lowestFree;
    this.#objects[id] = object;
    while (this.#objects[this.#lowestFree] !== undefined) this.#lowestFree += 1;
    return id;
  }

  get(id: number): T | undefined {
    return this.#objects[id];
  }

  remove(id: number): void {
    this.#objects[id] = undefined;
    if (id < this.#lowestFree) this.#lowestFree = id;
  }

  /** Live objects in the order of their ids. */
  all(): T[] {
    return this.#objects.filter((object) => object !== undefined);
  }
}

/** The error of an emulated call. */
export function fail(
  errno: OsError['errno'],
  call: string,
  detail: string,
  cause?: unknown,
): OsError {
  const error = new OsError(errno, call, detail);
  if (cause !== undefined) Object.defineProperty(error, 'cause', { value: cause });
  return error;
}
