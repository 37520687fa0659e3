// A set of callbacks for one event.

export class Listeners<T> {
  readonly #callbacks = new Set<(event: T) => void>();

  /** Adds a callback; disposing the result removes it. Adding during `emit` takes effect after. */
  add(callback: (event: T) => void): Disposable {
    // A wrapper of its own, so that one function added twice is called twice.
    const entry = (event: T): void => callback(event);
    this.#callbacks.add(entry);
    return { [Symbol.dispose]: () => this.#callbacks.delete(entry) };
  }

  /** Calls every callback in order of addition. An error of one is thrown after the last. */
  emit(event: T): void {
    let failed: { error: unknown } | undefined;
    for (const callback of [...this.#callbacks]) {
      try {
        callback(event);
      } catch (error) {
        failed ??= { error };
      }
    }
    if (failed) throw failed.error;
  }

  get size(): number {
    return this.#callbacks.size;
  }
}
