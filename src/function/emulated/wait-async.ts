// Atomics.waitAsync, which the ES2023 library types do not have yet.

interface WaitAsyncResult {
  readonly async: boolean;
  readonly value: 'not-equal' | 'timed-out' | Promise<'ok' | 'timed-out'>;
}

type WaitAsync = (
  words: Int32Array<SharedArrayBuffer>,
  index: number,
  expected: number,
  timeoutMs?: number,
) => WaitAsyncResult;

const { waitAsync } = Atomics as unknown as { waitAsync: WaitAsync };

/**
 * Resolves once `words[index]` is not `expected`, was notified, or `timeoutMs` passed; undefined
 * when it differs already. A pending wait does not keep the process alive.
 */
export function waitForChange(
  words: Int32Array<SharedArrayBuffer>,
  index: number,
  expected: number,
  timeoutMs?: number,
): Promise<unknown> | undefined {
  const result = waitAsync(words, index, expected, timeoutMs);
  return result.async ? (result.value as Promise<unknown>) : undefined;
}
