// A dma-buf is out of reach for a time, or until the device is opened again.
import { pause } from '../../../src/function/testing/counter-fixture.js';
import {
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_SET,
} from '../../../src/uapi/vfio-features.js';
import type { Exporter } from './exporter.js';
import { expectSame, identification, type Rule, type World } from './rule.js';

/** A reset of a bus takes the kernel more than a second. */
const watchMs = 6000;

const registers = [{ first: 0, count: 1 }];

/** While the device is out of reach, and after it. */
async function checkPause(
  { open, start }: World,
  begin: (device: Exporter) => void,
  end: (device: Exporter) => void,
): Promise<void> {
  using device = open();
  using buffer = device.export(registers);
  await using mapper = start(buffer);
  for (const slot of [0, 1]) await mapper.map({ slot });
  expectSame('before', await mapper.read(), identification);
  begin(device);
  expectSame('touched before', await mapper.read(), 'SIGBUS');
  expectSame('not touched before', await mapper.read(0, 1), 'SIGBUS');
  expectSame('a new mapping', await mapper.map({ slot: 2 }), 'ENODEV');
  using born = device.export(registers);
  await using late = start(born);
  expectSame('a mapping of a new dma-buf', await late.map(), 'ENODEV');
  end(device);
  for (const slot of [0, 1]) expectSame('after', await mapper.read(0, slot), identification);
  expectSame('a new mapping', await mapper.map({ slot: 2 }), 'ok');
  expectSame('its page', await mapper.read(0, 2), identification);
  expectSame('a mapping of the new dma-buf', await late.map(), 'ok');
  expectSame('its page', await late.read(), identification);
}

function setPower(device: Exporter, feature: number): void {
  device.feature(feature | VFIO_DEVICE_FEATURE_SET, new Uint8Array());
}

export const pausingRules: readonly Rule[] = [
  {
    name: 'without COMMAND.MEM an access is SIGBUS and a mapping ENODEV; with it, all is as before',
    needs: ['map'],
    check: (world) =>
      checkPause(
        world,
        (device) => device.setMemory(false),
        (device) => device.setMemory(true),
      ),
  },
  {
    name: 'so it is with low power, which COMMAND.MEM does not end',
    needs: ['map'],
    check: (world) =>
      checkPause(
        world,
        (device) => {
          setPower(device, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY);
          device.setMemory(false);
          device.setMemory(true);
        },
        (device) => setPower(device, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT),
      ),
  },
  {
    name: 'a guarded mapping that was touched in such a time stays all ones',
    needs: ['map'],
    async check({ os, open }) {
      using device = open();
      using buffer = device.export(registers);
      const spec = { offsetBytes: 0, lengthBytes: os.memory.pageBytes, writable: true };
      using touched = os.memory.map(buffer, { ...spec, guard: 'ones' });
      using spared = os.memory.map(buffer, { ...spec, guard: 'ones' });
      device.setMemory(false);
      expectSame('while off', new Uint32Array(touched.buffer)[0], 0xffff_ffff);
      device.setMemory(true);
      expectSame('touched', touched.revoked, true);
      expectSame('its word', new Uint32Array(touched.buffer)[0], 0xffff_ffff);
      expectSame('spared', spared.revoked, false);
      const word = new Uint32Array(spared.buffer)[0];
      expectSame('its word', `0x${word?.toString(16)}`, identification);
    },
  },
  {
    name: 'an access during a reset is SIGBUS, and after it all is as before',
    needs: ['map', 'reset'],
    async check({ os, openOther, start }) {
      using device = openOther();
      using buffer = device.export(registers);
      await using mapper = start(buffer);
      await mapper.map();
      const word = `0x${device.registers().read(0, 4).toString(16)}`;
      expectSame('before', await mapper.read(), word);
      const seen = mapper.ask(`watch 0 0 ${watchMs}`);
      await pause(os.clock, watchMs / 10);
      device.reset();
      expectSame('all that was read meanwhile', await seen, `${word} SIGBUS ${word}`);
      expectSame('a new mapping', await mapper.map({ slot: 1 }), 'ok');
      expectSame('its page', await mapper.read(0, 1), word);
    },
  },
  {
    name: 'when the device is closed, an access is SIGBUS and a mapping ENODEV, for good',
    needs: ['map'],
    async check({ open, start }) {
      using device = open();
      using buffer = device.export(registers);
      await using mapper = start(buffer);
      for (const slot of [0, 1]) await mapper.map({ slot });
      expectSame('before', await mapper.read(), identification);
      device[Symbol.dispose]();
      for (const state of ['closed', 'opened again']) {
        using again = state === 'closed' ? undefined : open();
        again?.setMemory(true);
        expectSame(`${state}: touched before`, await mapper.read(), 'SIGBUS');
        expectSame(`${state}: not touched before`, await mapper.read(0, 1), 'SIGBUS');
        expectSame(`${state}: a new mapping`, await mapper.map({ slot: 2 }), 'ENODEV');
      }
    },
  },
];
