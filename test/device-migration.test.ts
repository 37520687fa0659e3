// The devices that come along move between two servers, by what a client's migration does.
import { afterEach, expect, test } from 'vitest';
import { counterRegister } from '../src/device/counter/registers.js';
import { eduRegister } from '../src/device/edu/registers.js';
import { CounterDevice, createEdu, MqdmaDevice, type PciDevice } from '../src/device/index.js';
import { queueControl, queueControlOffset } from '../src/device/mqdma/datasheet.js';
import { ServedDevice } from '../src/vfio-user/device/served-device.js';
import { labOs } from '../src/vfio-user/testing/lab.js';

const made: ServedDevice[] = [];

afterEach(() => {
  for (const served of made.splice(0)) served[Symbol.dispose]();
});

function serve(device: PciDevice): ServedDevice {
  const onBug = (error: unknown): never => {
    throw error;
  };
  const terms = { name: 'moving', dma: 'direct', arenaBytes: 2 ** 30, idleSpinMs: 0 } as const;
  const served = new ServedDevice(device, { ...terms, os: labOs, onBug });
  made.push(served);
  return served;
}

async function stateOf({ migration }: ServedDevice): Promise<Uint8Array> {
  await migration!.transition('running', 'stop');
  await migration!.transition('stop', 'stop-copy');
  return await migration!.readData(2 ** 24);
}

async function takeOver({ migration }: ServedDevice, state: Uint8Array): Promise<void> {
  await migration!.transition('running', 'stop');
  await migration!.transition('stop', 'resuming');
  await migration!.writeData(state);
  await migration!.transition('resuming', 'stop');
  await migration!.transition('stop', 'running');
}

test.each<[string, () => PciDevice, number]>([
  ['counter', () => new CounterDevice(), counterRegister.COMPARE],
  ['edu', () => createEdu(), eduRegister.LIVENESS],
  [
    'mqdma',
    () => new MqdmaDevice({ queueCount: 2, pasidBits: 0 }),
    queueControlOffset(1) + queueControl.DMA_BASE_LOW,
  ],
])('%s keeps a register on the way', async (_, create, register) => {
  const from = serve(create());
  await from.write(0, register, Uint8Array.of(1, 2, 3, 4));
  const written = await from.read(0, register, 4);
  const to = serve(create());
  expect(await to.read(0, register, 4)).not.toEqual(written);
  await takeOver(to, await stateOf(from));
  expect(await to.read(0, register, 4)).toEqual(written);
});

test('another device is none to take over', async () => {
  const state = await stateOf(serve(createEdu()));
  await expect(takeOver(serve(new CounterDevice()), state)).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  });
});
