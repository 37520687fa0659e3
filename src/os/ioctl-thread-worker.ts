// The thread that makes the ioctls of one descriptor, one after the other. It owns nothing.
import { parentPort, workerData } from 'node:worker_threads';
import type { IoctlReply, IoctlRequest, IoctlThreadData } from './ioctl-thread-messages.js';
import { loadNative } from './native.js';

const native = loadNative();
const port = parentPort!;
const { descriptor } = workerData as IoctlThreadData;

port.on('message', ({ callId, request, bytes }: IoctlRequest) => {
  const result = native.ioctl(descriptor, request, bytes);
  const reply: IoctlReply = { callId, result, bytes };
  port.postMessage(reply);
});
