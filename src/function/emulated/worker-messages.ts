// What main and worker say to each other before the loop starts; after that they share memory.
import type { DeviceConfig, DeviceRegion } from '../../device/types.js';
import type { IommuHandles } from '../../iommu/soft/control.js';
import type { FramePlace } from '../frame-map.js';
import type { ControlShape } from './control-block.js';

/** Where the device comes from. All of it is the broker's own choice, never a client's. */
export interface DeviceSource {
  /** URL or absolute path of the module. */
  readonly module: string;
  /** A function of that module: (options) => PciDevice. */
  readonly exportName: string;
  /** Structured-clonable. */
  readonly options: unknown;
}

/** Worker to main, first: what the device is. */
export interface DeviceDescription {
  readonly config: DeviceConfig;
  readonly regions: readonly DeviceRegion[];
}

/** Main to worker: everything shared. */
export interface StartOrder {
  readonly shared: SharedArrayBuffer;
  readonly shape: ControlShape;
  readonly places: readonly FramePlace[];
  readonly pageBytes: number;
  readonly iommu: IommuHandles;
  readonly arenaId: number;
  readonly idleSpinMs: number;
}

export type WorkerMessage =
  | { readonly type: 'described'; readonly description: DeviceDescription }
  | { readonly type: 'running' };
