// A soft iommufd with one IOAS and one file, and calls that answer with an errno.

import { MiB } from '../../base/units.js';
import { RegisteredMemory } from '../registered-memory.js';
import type { MapFileRequest } from '../requests.js';
import { errnoOf } from './errno-of.js';
import { createSoftWorld, type SoftWorld, type SoftWorldOptions } from './soft-world.js';

export const FIXED = 1;
export const W = 2;
export const R = 4;
export const PAGE = 4096n;

export function createIoasWorld(options: SoftWorldOptions = {}, tablePages = 512) {
  const userMemory = new RegisteredMemory();
  const world = createSoftWorld(tablePages, { userMemory, ...options });
  const { iommufd } = world;
  const ioasId = iommufd.ioasAlloc();
  const fd = world.memory.create(8 * MiB);
  const good = { flags: FIXED | R | W, ioasId, fd, start: 0n, length: PAGE, iova: PAGE };
  return {
    ...world,
    userMemory,
    ioasId,
    fd,
    map: (change: Partial<MapFileRequest> = {}) =>
      errnoOf(() => iommufd.ioasMapFile({ ...good, ...change })),
    unmap: (iova: bigint, length: bigint, id = ioasId) =>
      errnoOf(() => iommufd.ioasUnmap({ ioasId: id, iova, length })),
  };
}

export type IoasWorld = ReturnType<typeof createIoasWorld>;

/** Gives an IOAS a domain; returns the device. */
export function attachOne(
  world: SoftWorld,
  ioasId: number,
  options: Parameters<SoftWorld['createUnit']>[0] = {},
) {
  const unit = world.createUnit(options);
  const device = world.iommufd.bind(unit);
  const hwptId = device.attach(ioasId);
  return { unit, device, hwptId };
}
