// A client process: does over IPC what client-calls.ts says.
import { TestClient } from './test-client.js';

interface CallMessage {
  readonly id: number;
  readonly name: string;
  readonly parameters: readonly unknown[];
}

const client = new TestClient(process.env.LESSOR_TEST_SOCKET ?? '');

process.on('message', (message) => {
  const { id, name, parameters } = message as CallMessage;
  const method = client[name as keyof TestClient] as (...all: unknown[]) => Promise<unknown>;
  Promise.resolve()
    .then(() => method.apply(client, [...parameters]))
    .then(
      (value) => process.send?.({ id, value }),
      (error: unknown) => process.send?.({ id, error: String(error) }),
    );
});
// The test is over, or died.
process.on('disconnect', () => process.exit(0));
