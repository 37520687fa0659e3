// A client process of a case: does over IPC what calls.ts says.
import { RealClient } from './client.js';
import { eduWorkshop } from './edu-work.js';
import { mqdmaWorkshop } from './mqdma-work.js';

interface CallMessage {
  readonly id: number;
  readonly name: string;
  readonly parameters: readonly unknown[];
}

const workshop = process.env.LESSOR_REAL_DEVICE === 'edu' ? eduWorkshop : mqdmaWorkshop;
const client = new RealClient(process.env.LESSOR_TEST_SOCKET ?? '', workshop);

process.on('message', (message) => {
  const { id, name, parameters } = message as CallMessage;
  const method = client[name as keyof RealClient] as (...all: unknown[]) => Promise<unknown>;
  Promise.resolve()
    .then(() => method.apply(client, [...parameters]))
    .then(
      (value) => process.send?.({ id, value }),
      (error: unknown) => process.send?.({ id, error: String(error) }),
    );
});
// The case is over, or died.
process.on('disconnect', () => process.exit(0));
