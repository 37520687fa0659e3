// The device as one client has it: calls go to the served device until the connection is over.
import type { ClientMemory, VfioUserEndpoint } from '../endpoint.js';
import type { ServedDevice } from './served-device.js';

export interface ServedEndpointEvents {
  readonly onOpened: () => void;
  readonly onClosed: (error: Error | undefined) => void;
}

/** One for each connection. */
export function createEndpoint(
  served: ServedDevice,
  events: ServedEndpointEvents,
): VfioUserEndpoint {
  return {
    opened(client: ClientMemory) {
      served.opened(client);
      events.onOpened();
    },
    regions: served.regions,
    irqs: served.irqs,
    regionFd: (region) => served.regionFd(region),
    regionIoFds: (region) => served.regionIoFds(region),
    read: (region, offsetBytes, lengthBytes) => served.read(region, offsetBytes, lengthBytes),
    write: (region, offsetBytes, bytes) => served.write(region, offsetBytes, bytes),
    dmaMap: (request) => served.dmaMap(request),
    dmaUnmap: (range) => served.dmaUnmap(range),
    setIrqs: (change) => served.setIrqs(change),
    reset: () => served.reset(),
    ...(served.migration === undefined ? {} : { migration: served.migration }),
    dirtyPages: served.dirtyPages,
    closed: (error) => events.onClosed(error),
  };
}
