// A dma-buf in an address space: the device reaches its own registers through it, until it is cut.
import type { Fd } from '../../../src/os/fd.js';
import {
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
} from '../../../src/uapi/iommufd.js';
import { Edu } from '../fault-matrix/edu.js';
import { type Exporter, outcomeOf, pageBytes } from './exporter.js';
import { expectSame, identification, type Rule, type World } from './rule.js';

const registers = [{ first: 0, count: 1 }];
const bufferIova = 0x10_0000n;
const memoryIova = 0x20_0000n;
const flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;

function mapFile(device: Exporter, ioasId: number, fd: Fd, iova: bigint): string {
  const request = { flags, ioasId, fd, start: 0n, length: BigInt(pageBytes), iova };
  return outcomeOf(() => device.iommufd.ioasMapFile(request));
}

/** Has the device read its first register as memory, and put what it got into real memory. */
function reader({ os }: World, device: Exporter, memory: Fd) {
  const words = device.registers();
  const edu = new Edu(
    {
      read32: async (offsetBytes) => words.read(offsetBytes, 4),
      write32: async (offsetBytes, value) => words.write(offsetBytes, 4, value),
    },
    os.clock,
  );
  return async (): Promise<string> => {
    const word = { bufferOffset: 0, lengthBytes: 4 };
    using view = os.memory.map(memory, { offsetBytes: 0, lengthBytes: pageBytes, writable: true });
    const found = new Uint32Array(view.buffer);
    // The buffer of the device holds no identification of an earlier read.
    found[0] = 0;
    await edu.transfer({ ...word, direction: 'from memory', iova: Number(memoryIova) });
    await edu.transfer({ ...word, direction: 'from memory', iova: Number(bufferIova) });
    await edu.transfer({ ...word, direction: 'to memory', iova: Number(memoryIova) });
    return `0x${found[0]?.toString(16)}`;
  };
}

/** The device in an address space with memory and a dma-buf of its registers. */
class Importer implements Disposable {
  readonly device: Exporter;
  readonly buffer: Fd;
  readonly #memory: Fd;
  readonly #ioasId: number;
  readonly #read: () => Promise<string>;

  constructor(world: World) {
    this.device = world.open();
    this.buffer = this.device.export(registers);
    this.#memory = world.os.memory.create('dma-buf-importer', pageBytes);
    this.#ioasId = this.device.enterSpace();
    this.#read = reader(world, this.device, this.#memory);
    expectSame('memory', mapFile(this.device, this.#ioasId, this.#memory, memoryIova), 'ok');
  }

  /** @returns "ok" or an errno. */
  map(ioasId = this.#ioasId): string {
    return mapFile(this.device, ioasId, this.buffer, bufferIova);
  }

  unmap(): void {
    const range = { iova: bufferIova, length: BigInt(pageBytes) };
    this.device.iommufd.ioasUnmap({ ioasId: this.#ioasId, ...range });
  }

  read(): Promise<string> {
    return this.#read();
  }

  async isCut(): Promise<boolean> {
    return (await this.read()) !== identification;
  }

  [Symbol.dispose](): void {
    this.buffer.close();
    this.#memory.close();
    this.device[Symbol.dispose]();
  }
}

export const importingRules: readonly Rule[] = [
  {
    name: 'a device reaches a dma-buf in its address space, and no more when it is revoked',
    needs: ['revoke'],
    async check(world) {
      using importer = new Importer(world);
      const { device, buffer } = importer;
      expectSame('map', importer.map(), 'ok');
      expectSame('before', await importer.read(), identification);
      expectSame('revoke', device.revoke(buffer.number), 'ok');
      expectSame('cut off', await importer.isCut(), true);
      expectSame('in another space', importer.map(device.iommufd.ioasAlloc()), 'ENODEV');
      importer.unmap();
      expectSame('mapped again', importer.map(), 'ENODEV');
      expectSame('cut off', await importer.isCut(), true);
    },
  },
  {
    name: 'another export of the same range stays in reach',
    needs: ['revoke'],
    async check(world) {
      using importer = new Importer(world);
      using other = importer.device.export(registers);
      expectSame('map', importer.map(), 'ok');
      expectSame('revoke', importer.device.revoke(other.number), 'ok');
      expectSame('still there', await importer.read(), identification);
    },
  },
  {
    name: 'without COMMAND.MEM a dma-buf is cut from address spaces until it is mapped anew',
    needs: [],
    async check(world) {
      using importer = new Importer(world);
      const { device } = importer;
      expectSame('map', importer.map(), 'ok');
      expectSame('before', await importer.read(), identification);
      device.setMemory(false);
      expectSame('mapped meanwhile', importer.map(device.iommufd.ioasAlloc()), 'ENODEV');
      device.setMemory(true);
      expectSame('cut off', await importer.isCut(), true);
      importer.unmap();
      expectSame('mapped anew', importer.map(), 'ok');
      expectSame('there again', await importer.read(), identification);
    },
  },
  {
    name: 'an address space takes a dma-buf of one range only',
    needs: [],
    async check(world) {
      using importer = new Importer(world);
      using two = importer.device.export([...registers, ...registers]);
      const ioasId = importer.device.iommufd.ioasAlloc();
      expectSame('two ranges', mapFile(importer.device, ioasId, two, bufferIova), 'EOPNOTSUPP');
    },
  },
];
