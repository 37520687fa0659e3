// Everything that a client can ask for: what is recorded as seeds, and what a client under attack
// is doing meanwhile.
import type { VfioUserClient } from '../../src/vfio-user/client.js';
import type { World } from '../../src/vfio-user/testing/world.js';
import type { Random } from './random.js';

export interface Stop {
  readonly name: string;
  ask(client: VfioUserClient, random: Random, world: World): Promise<unknown>;
}

const range = (random: Random) => ({
  iova: BigInt(random.pick([0x1_0000, 0x2_0000, 0x10_0000])),
  lengthBytes: BigInt(random.pick([0x1000, 0x2000, 0x10_0000])),
});

const files = (world: World, count: number) =>
  Array.from({ length: count }, () => world.open('file'));

const states = ['stop', 'running', 'stop-copy', 'resuming', 'pre-copy', 'running'] as const;

const smallWrites = (random: Random) =>
  Array.from({ length: random.pick([1, 3, 40]) }, () => ({
    region: random.pick([0, 0, 0, 2, 7]),
    offsetBytes: random.below(200),
    data: random.bytes(random.between(1, 8)),
  }));

/** Moves a device through its states, so that what belongs to one of them can succeed. */
export async function migrateAcross(client: VfioUserClient, random: Random): Promise<void> {
  await client.migration.setState('running');
  await client.migration.setState('pre-copy');
  await client.migration.read(10);
  await client.migration.setState('stop-copy');
  await client.migration.read(50);
  await client.migration.setState('resuming');
  await client.migration.write(random.bytes(30));
  await client.migration.setState('running');
  await client.dirtyPages.start(4096);
  await client.dirtyPages.report(range(random), 4096);
  await client.dmaUnmapDirty(range(random), 4096);
  await client.dirtyPages.stop();
}

export const tour: readonly Stop[] = [
  { name: 'deviceInfo', ask: (client) => client.deviceInfo() },
  {
    name: 'regionInfo',
    ask: async (client, random) => {
      const { fd } = await client.regionInfo(random.pick([0, 0, 1, 2, 3, 7, 9]));
      fd?.close();
    },
  },
  { name: 'irqInfo', ask: (client, random) => client.irqInfo(random.below(6)) },
  {
    name: 'bind',
    ask: (client, random, world) => {
      const fds = files(world, random.pick([1, 2, 20]));
      return client.setIrqs({ action: 'bind', index: 2, start: random.below(4), fds });
    },
  },
  {
    name: 'unbind',
    ask: (client, random) => {
      const count = random.between(1, 24);
      return client.setIrqs({ action: 'unbind', index: 2, start: 0, count });
    },
  },
  { name: 'disable', ask: (client) => client.setIrqs({ action: 'disable', index: 2 }) },
  {
    name: 'trigger',
    ask: (client, random) => {
      const action = random.pick(['trigger', 'mask', 'unmask'] as const);
      const vectors = random.pick([[0], [1, 2, 3], [0, 5, 9], [23]]);
      return client.setIrqs({ action, index: 2, vectors });
    },
  },
  {
    name: 'regionRead',
    ask: (client, random) =>
      client.regionRead(
        random.pick([0, 1, 2]),
        random.pick([0, 8, 0x7fc]),
        random.pick([1, 5, 64, 4096]),
      ),
  },
  {
    name: 'regionWrite',
    ask: (client, random) =>
      client.regionWrite(
        random.pick([0, 1, 2]),
        random.pick([0, 8]),
        random.bytes(random.pick([1, 9, 64])),
      ),
  },
  {
    name: 'regionWritePosted',
    ask: async (client, random) => client.regionWritePosted(0, random.below(64), random.bytes(8)),
  },
  { name: 'read8', ask: (client) => client.read8(0, 1) },
  { name: 'read16', ask: (client) => client.read16(0, 2) },
  { name: 'read32', ask: (client) => client.read32(0, 4) },
  { name: 'read64', ask: (client) => client.read64(0, 8) },
  { name: 'write32', ask: (client, random) => client.write32(7, 4, random.word()) },
  { name: 'write64', ask: (client) => client.write64(0, 8, 1n) },
  {
    name: 'dmaMap',
    ask: (client, random, world) => {
      const request = {
        ...range(random),
        offsetBytes: 0n,
        readable: true,
        writable: random.percent(50),
      };
      return client.dmaMap(random.percent(70) ? { ...request, fd: world.open('file') } : request);
    },
  },
  {
    name: 'dmaUnmap',
    ask: (client, random) => client.dmaUnmap(random.percent(30) ? 'all' : range(random)),
  },
  { name: 'migrateAcross', ask: migrateAcross },
  { name: 'reset', ask: (client) => client.reset() },
  {
    name: 'regionIoFds',
    ask: async (client, random) => {
      for (const { fd, shadow } of await client.regionIoFds(random.pick([0, 0, 1, 9]))) {
        fd?.close();
        shadow?.fd.close();
      }
    },
  },
  {
    name: 'regionWriteMulti',
    ask: (client, random) => client.regionWriteMulti(smallWrites(random)),
  },
  {
    name: 'regionWriteMultiPosted',
    ask: async (client, random) => client.regionWriteMultiPosted(smallWrites(random)),
  },
  {
    name: 'setMaskEvents',
    ask: (client, random, world) => {
      const count = random.pick([1, 2, 20]);
      const fds = random.percent(70) ? files(world, count) : [];
      const on = random.pick(['mask', 'unmask'] as const);
      return client.setMaskEvents({ on, index: 2, start: 0, count, fds });
    },
  },
  {
    name: 'probeFeature',
    ask: (client, random) =>
      client.probeFeature(random.below(10), random.pick([0, 0x1_0000, 0x2_0000])),
  },
  { name: 'migration.abilities', ask: (client) => client.migration.abilities() },
  { name: 'migration.state', ask: (client) => client.migration.state() },
  {
    name: 'migration.setState',
    ask: (client, random) => client.migration.setState(random.pick(states)),
  },
  {
    name: 'migration.read',
    ask: (client, random) => client.migration.read(random.between(1, 100)),
  },
  {
    name: 'migration.write',
    ask: (client, random) => {
      // Sent together: nothing comes between to change the state that a write needs.
      const moved = random.percent(50) ? client.migration.setState('resuming') : undefined;
      return Promise.all([moved, client.migration.write(random.bytes(40))]);
    },
  },
  {
    name: 'dirtyPages.start',
    ask: (client, random) => {
      const ranges = random.percent(50) ? [] : [range(random)];
      return client.dirtyPages.start(random.pick([4096, 4096, 0x10_0000]), ranges);
    },
  },
  { name: 'dirtyPages.stop', ask: (client) => client.dirtyPages.stop() },
  {
    name: 'dirtyPages.report',
    ask: (client, random) => client.dirtyPages.report(range(random), random.pick([4096, 8192])),
  },
  {
    name: 'dmaUnmapDirty',
    ask: (client, random) => client.dmaUnmapDirty(range(random), 4096),
  },
];
