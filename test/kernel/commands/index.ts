// Every command of the random test.
import type { Command } from '../command.js';
import { faultCommands } from './faults.js';
import { hwptCommands } from './hwpt.js';
import { ioasCommands } from './ioas.js';
import { mapCommands } from './map.js';
import { mockCommands } from './mock.js';
import { optionCommands } from './options.js';
import { viommuCommands } from './viommu.js';

export const allCommands: readonly Command<never>[] = [
  ...ioasCommands,
  ...mapCommands,
  ...optionCommands,
  ...mockCommands,
  ...hwptCommands,
  ...faultCommands,
  ...viommuCommands,
];
