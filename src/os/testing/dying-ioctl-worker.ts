// A thread of ioctls that dies at the first call.
import { parentPort } from 'node:worker_threads';

parentPort!.on('message', () => {
  throw new Error('dying as asked');
});
