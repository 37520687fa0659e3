import { type ContractWorld, iommufdContract } from '../testing/iommufd-contract.js';
import { createSoftWorld } from '../testing/soft-world.js';

function createWorld(): ContractWorld {
  const world = createSoftWorld();
  const { iommufd, memory } = world;
  return {
    iommufd,
    createMemory: (lengthBytes) => memory.create(lengthBytes),
    bindDevice: () => iommufd.bind(world.createUnit({ pasidBits: 0 })),
    end: () => iommufd[Symbol.dispose](),
  };
}

iommufdContract('the iommufd in software', createWorld);
