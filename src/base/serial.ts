// Asynchronous operations one after the other, in the order in which they were asked for.

export class Serial {
  #tail: Promise<unknown> = Promise.resolve();

  /** Runs `operation` once everything before it has settled; a failure stops nobody behind it. */
  run<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(operation);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}
