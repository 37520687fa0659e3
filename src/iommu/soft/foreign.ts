// Objects of others that live in a context: they take an id, and DESTROY reaches them.
import type { SoftContext } from './context.js';

export class ForeignObject {
  readonly kind = 'foreign';
  readonly id: number;
  /** Who else uses it. */
  useCount = 0;
  readonly #context: SoftContext;
  #onDestroy: () => void = () => {};

  /** Takes an id; the object does not exist for anybody until `publish`. */
  constructor(context: SoftContext) {
    this.#context = context;
    this.id = context.objects.reserve();
  }

  /** @param onDestroy - Called once, by DESTROY or at the end of the context. */
  publish(onDestroy: () => void): void {
    this.#onDestroy = onDestroy;
    this.#context.objects.publish(this.id, this);
  }

  /** Gives the id back, instead of `publish`. */
  abandon(): void {
    this.#context.objects.remove(this.id);
  }

  destroy(): void {
    this.#onDestroy();
  }
}
