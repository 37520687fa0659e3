// The vfio-user device that a lease is, taken apart: which windows it has, and mapping them.
import { LessorError } from '../base/errors.js';
import {
  PCI_CFG_SPACE_SIZE,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
} from '../device/config-space.js';
import { findWindows, type ShownWindow } from '../device/window-capability.js';
import type { MemoryOs } from '../os/memory-types.js';
import { VFIO_PCI_CONFIG_REGION_INDEX } from '../uapi/vfio.js';
import type { VfioUserClient } from '../vfio-user/client.js';
import type { VfioUserRegionInfo } from '../vfio-user/region-info.js';
import { MappedLeaseWindow, MessageLeaseWindow } from './window.js';

export type OwnedWindow = MappedLeaseWindow | MessageLeaseWindow;

/** COMMAND is 16 bits wide. */
function commandBytes(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}

/**
 * Connects the windows and lets the device reach memory.
 *
 * @throws OsError EPERM when the windows were not as the broker made them.
 */
export function enableDevice(device: VfioUserClient): Promise<void> {
  const bits = commandBytes(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  return device.regionWrite(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, bits);
}

/** Stops memory access and DMA: the farewell of a holder that is done. */
export function disableDevice(device: VfioUserClient): Promise<void> {
  return device.regionWrite(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, commandBytes(0));
}

function isMappable(info: VfioUserRegionInfo, window: ShownWindow): boolean {
  const end = window.offsetBytes + window.lengthBytes;
  return (
    info.fd !== undefined &&
    info.areas.some(
      (area) =>
        area.offsetBytes <= window.offsetBytes && area.offsetBytes + area.lengthBytes >= end,
    )
  );
}

function openWindow(
  memory: MemoryOs,
  device: VfioUserClient,
  info: VfioUserRegionInfo,
  window: ShownWindow,
): OwnedWindow {
  if (info.fd === undefined || !isMappable(info, window)) {
    return new MessageLeaseWindow(window, device);
  }
  const mapping = memory.map(info.fd, {
    offsetBytes: info.fdOffsetBytes + window.offsetBytes,
    lengthBytes: window.lengthBytes,
    writable: window.access === 'read-write',
    guard: 'ones',
  });
  return new MappedLeaseWindow(window, mapping, device);
}

/**
 * Reads the list of windows and maps each that can be mapped.
 *
 * @throws LessorError `UNSUPPORTED` when the device lists none; ProtocolError for a bad list.
 */
export async function openWindows(
  memory: MemoryOs,
  device: VfioUserClient,
): Promise<Map<string, OwnedWindow>> {
  const config = await device.regionRead(VFIO_PCI_CONFIG_REGION_INDEX, 0, PCI_CFG_SPACE_SIZE);
  const shown = findWindows(config);
  if (shown === undefined) throw new LessorError('UNSUPPORTED', 'the device lists no windows');
  const regions = new Map<number, VfioUserRegionInfo>();
  const windows = new Map<string, OwnedWindow>();
  try {
    for (const window of shown) {
      let info = regions.get(window.region);
      if (info === undefined) {
        info = await device.regionInfo(window.region);
        regions.set(window.region, info);
      }
      windows.set(window.name, openWindow(memory, device, info, window));
    }
    return windows;
  } catch (error) {
    for (const window of windows.values()) {
      if (window.kind === 'mapped') window[Symbol.dispose]();
    }
    throw error;
  } finally {
    for (const info of regions.values()) info.fd?.close();
  }
}
