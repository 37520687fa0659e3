// Calls to another thread, seen from the caller: each is answered once, or fails when the thread
// ends.
import { LessorError } from '../../base/errors.js';
import {
  fromWords,
  type RequestMessage,
  type SpaceRequest,
  type WorkerMessage,
} from './worker-messages.js';

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class CallLine {
  readonly #post: (message: RequestMessage) => void;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #end: string | undefined;

  constructor(post: (message: RequestMessage) => void) {
    this.#post = post;
  }

  /**
   * Resolves when the other thread has done it.
   *
   * @throws LessorError `FUNCTION_GONE` when the thread ended: whether it was done is not known,
   *   and the function must be reset. Errors of the call with their codes.
   */
  call(request: SpaceRequest): Promise<void> {
    if (this.#end !== undefined) return Promise.reject(gone(this.#end));
    this.#lastId += 1;
    const callId = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(callId, { resolve, reject });
      this.#post({ callId, request });
    });
  }

  /** Takes an answer. */
  take(message: Extract<WorkerMessage, { type: 'done' }>): void {
    const waiting = this.#waiting.get(message.callId);
    this.#waiting.delete(message.callId);
    if (message.error === undefined) waiting?.resolve();
    else waiting?.reject(fromWords(message.error));
  }

  /** Nothing will be answered any more. */
  end(detail: string): void {
    if (this.#end !== undefined) return;
    this.#end = detail;
    for (const { reject } of this.#waiting.values()) reject(gone(detail));
    this.#waiting.clear();
  }
}

function gone(detail: string): LessorError {
  const hint = 'reset the function: what it may still reach is not known';
  return new LessorError('FUNCTION_GONE', detail, { hint });
}
