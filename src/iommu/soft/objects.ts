// Object ids of one context: one namespace, lowest free number from 1.
import { OsError } from '../../base/errors.js';

/** In the place of an object that is not finished: it does not exist for anybody. */
const reserved = Symbol('reserved');

export class ObjectTable<T extends object> {
  /** Index is the id; a hole is a free id. */
  readonly #objects: (T | typeof reserved | undefined)[] = [reserved];
  #lowestFree = 1;

  /** Takes the lowest free id, for an object that `publish` shows or `remove` gives up. */
  reserve(): number {
    const id = this.#lowestFree;
    this.#objects[id] = reserved;
    while (this.#objects[this.#lowestFree] !== undefined) this.#lowestFree += 1;
    return id;
  }

  publish(id: number, object: T): void {
    this.#objects[id] = object;
  }

  /** Both at once. @returns The id. */
  add(object: T): number {
    const id = this.reserve();
    this.publish(id, object);
    return id;
  }

  get(id: number): T | undefined {
    const object = this.#objects[id];
    return object === reserved ? undefined : object;
  }

  remove(id: number): void {
    this.#objects[id] = undefined;
    if (id < this.#lowestFree) this.#lowestFree = id;
  }

  /** Ids in use, also of objects that are not finished. */
  get count(): number {
    return this.#objects.filter((object) => object !== undefined).length - 1;
  }

  /** Live objects in the order of their ids. */
  all(): T[] {
    return this.entries().map(([, object]) => object);
  }

  /** Ids and live objects, in order. */
  entries(): [number, T][] {
    const entries: [number, T][] = [];
    this.#objects.forEach((object, id) => {
      if (object !== undefined && object !== reserved) entries.push([id, object]);
    });
    return entries;
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
