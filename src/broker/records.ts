// What the services show of slices, leases and the function.
import type { Slice } from '../driver/types.js';
import type { FunctionRecord, InfoReply, LeaseRecord, SliceRecord } from '../varlink/interface.js';
import type { BrokerContext } from './context.js';
import type { Inventory } from './inventory.js';
import { type BrokerLease, describeReason } from './lease.js';

export function sliceRecord(inventory: Inventory, slice: Slice): SliceRecord {
  const status = inventory.status(slice.name);
  return {
    name: slice.name,
    kind: slice.kind,
    state: status.state,
    ...(status.state === 'free' ? {} : { lease: status.leaseId }),
    windows: slice.windows.map((window) => ({
      name: window.name,
      region: window.region,
      offset: window.offsetBytes,
      length: window.lengthBytes,
      access: window.access,
    })),
    vectors: slice.vectors.length,
  };
}

export function leaseRecord(lease: BrokerLease, expiresMs: number | undefined): LeaseRecord {
  const { terms, state } = lease;
  return {
    id: terms.id,
    slice: terms.slice.name,
    kind: terms.slice.kind,
    state: state.name,
    isolation: terms.isolation,
    revocation: terms.revocation,
    holder: terms.holder,
    uid: terms.uid,
    ...(terms.pid === undefined ? {} : { pid: terms.pid }),
    epoch: terms.epoch,
    ...(terms.pasid === undefined ? {} : { pasid: terms.pasid }),
    iovaBase: terms.iovaWindow.base,
    iovaBytes: terms.iovaWindow.lengthBytes,
    mappedBytes: lease.resources.mappedBytes,
    vectors: terms.vectorList.length,
    exclusive: terms.exclusive,
    createdMs: terms.createdMs,
    ...(expiresMs === undefined ? {} : { expiresMs: Math.round(expiresMs) }),
    ...(state.reason === undefined ? {} : { reason: describeReason(state.reason) }),
  };
}

export function functionRecord(
  context: BrokerContext,
  driverName: string,
  isolation: string,
): FunctionRecord {
  const { info } = context.fn;
  return {
    name: info.name,
    underside: info.underside,
    vendor: info.vendorId,
    device: info.deviceId,
    class: info.classCode,
    pasidBits: info.pasidBits,
    epoch: context.epoch,
    driver: driverName,
    isolation,
  };
}

export function infoReply(
  context: BrokerContext,
  inventory: Inventory,
  version: string,
  fn: FunctionRecord,
): InfoReply {
  const slices = inventory.slices.map((slice) => sliceRecord(inventory, slice));
  return {
    version,
    pid: context.os.processes.pid,
    uid: context.os.processes.uid,
    function: fn,
    slices,
    quarantined: slices.filter((slice) => slice.state === 'quarantined').map((slice) => slice.name),
  };
}
