// The thread of a kernel IOMMU, seen from the main one: messages and its end.
import { Worker } from 'node:worker_threads';
import type { RequestMessage, WorkerData, WorkerMessage } from './worker-messages.js';

/** Another thread, as far as it is needed here. */
export interface SpaceThread {
  readonly post: (message: RequestMessage) => void;
  readonly onMessage: (listener: (message: WorkerMessage) => void) => void;
  /** Resolves once it is gone, with what ended it. */
  readonly ended: Promise<string>;
  /** Ends it. A call that the kernel is at is waited for. */
  readonly terminate: () => Promise<void>;
}

export function startWorker(data: WorkerData): SpaceThread {
  const worker = new Worker(new URL('./worker.js', import.meta.url), {
    name: 'lessor iommu',
    workerData: data,
    stdout: true,
  });
  // Standard output is for answers of the process.
  worker.stdout.pipe(process.stderr, { end: false });
  let failure: string | undefined;
  worker.on('error', (error) => {
    failure ??= `the thread of the IOMMU failed: ${error}`;
  });
  return {
    post: (message) => worker.postMessage(message),
    onMessage: (listener) => void worker.on('message', listener),
    ended: new Promise((resolve) => {
      const detail = 'the thread of the IOMMU ended';
      worker.once('exit', () => resolve(failure ?? detail));
    }),
    terminate: async () => {
      await worker.terminate();
    },
  };
}
