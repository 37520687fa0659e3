// Every hand-written edge.
import type { Command } from '../command.js';
import { accountingEdges } from './accounting.js';
import { containerEdges } from './container.js';
import { deviceEdges } from './devices.js';
import type { Edge } from './edge.js';
import { entryEdges } from './entry.js';
import { ioasEdges } from './ioas.js';
import { vfioEdges } from './vfio.js';
import { vfioSpaceEdges } from './vfio-spaces.js';
import { viommuEdges } from './viommu.js';

export function allEdges(commands: readonly Command<never>[]): readonly Edge[] {
  return [
    ...entryEdges(commands),
    ...ioasEdges,
    ...containerEdges,
    ...deviceEdges,
    ...viommuEdges,
    ...accountingEdges,
    ...vfioEdges,
    ...vfioSpaceEdges,
  ];
}
