// A function as it was opened, whichever way: what every part of it is made from.
import type { DeviceFacts } from '../../iommu/kernel/worker-messages.js';
import type { AddressSpace } from '../../iommu/types.js';
import type { Fd } from '../../os/fd.js';
import type { ReservedIovas } from './reserved-iovas.js';

/** The address spaces of one function, behind a thread that does their work. */
export interface DeviceSpaces extends AsyncDisposable {
  readonly facts: DeviceFacts;
  /** Resolves when the thread is gone; unless this was disposed, nothing it did is sure. */
  readonly ended: Promise<string>;
  /**
   * Opens an address space of its own under a PASID, or a share of the plain one.
   *
   * @throws LessorError `INVALID_ARGUMENT`, `UNSUPPORTED`, `FUNCTION_GONE`; OsError
   */
  open(options: { readonly pasid: number | undefined }): Promise<AddressSpace>;
}

/** What the caller of an open owns, in the order in which it is to be ended. */
export interface OpenedDevice {
  /** `container`: by its group, in a type1v2 container of its own. */
  readonly way: 'iommufd' | 'container';
  readonly spaces: DeviceSpaces;
  /** Of the device, bound and ready for its calls. The kernel resets it after the last close. */
  readonly fd: Fd;
  /** Addresses that its spaces cannot map. */
  readonly reservedIovas: readonly ReservedIovas[];
  /** Needed by a reset of the whole bus; undefined for a device of an iommufd. */
  readonly groupFd: Fd | undefined;
}
