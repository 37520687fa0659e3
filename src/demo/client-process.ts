// A client process of the demo: holds a lease and does what the story asks over its channel.
import type { AnswerMessage, CallMessage } from './calls.js';
import { DemoClient } from './demo-client.js';

const client = new DemoClient(process.env.LESSOR_DEMO_SOCKET ?? '');

function answer(message: AnswerMessage): void {
  process.send?.(message);
}

process.on('message', (message) => {
  const { id, name, argument } = message as CallMessage;
  const method = client[name as keyof DemoClient] as (argument: unknown) => Promise<unknown>;
  Promise.resolve()
    .then(() => method.call(client, argument))
    .then(
      (value) => answer({ id, value }),
      (error: unknown) => answer({ id, error: error instanceof Error ? error.message : 'unknown' }),
    );
});
// The story is over, or died: nothing is left to do here.
process.on('disconnect', () => process.exit(0));
