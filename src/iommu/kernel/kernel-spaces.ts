// The address spaces of a VFIO device of the kernel, for a main thread that must not wait.
import { LessorError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import { toCount } from '../../base/units.js';
import { closeAll, type Fd } from '../../os/fd.js';
import type { IoctlOs } from '../../os/ioctl-types.js';
import { reachOf } from '../space-share.js';
import type { AddressSpace } from '../types.js';
import { CallLine } from './call-line.js';
import { RemoteSpace } from './remote-space.js';
import { type SpaceThread, startWorker } from './space-thread.js';
import { type DeviceFacts, fromWords, type WorkerData } from './worker-messages.js';

const O_RDWR = 2;

export interface KernelSpacesOptions {
  readonly os: IoctlOs;
  /**
   * Of the VFIO device. One by its character device is not bound yet. Owned, also when this fails.
   */
  readonly deviceFd: Fd;
  /**
   * For a device that was opened through its group: what else is open of it. The container's IOMMU
   * is type1v2, and no other group is in it. Owned, also when this fails.
   */
  readonly container?: { readonly containerFd: Fd; readonly groupFd: Fd };
  /** Of the iommufd, for a device without a container. */
  readonly path?: string;
  /** Mappings of one address space. */
  readonly mapsMax?: number;
  readonly startThread?: (data: WorkerData) => SpaceThread;
}

/**
 * As `AddressSpaces`, with another thread making the calls. A map is done in pieces: address spaces
 * take turns, and removing memory goes before mapping more. What a lease asks for happens in order,
 * except that an unmap may overtake maps of other addresses.
 */
export class KernelAddressSpaces implements AsyncDisposable {
  readonly facts: DeviceFacts;
  /** Resolves when the thread is gone; unless this was disposed, the function must be reset. */
  readonly ended: Promise<string>;
  readonly #thread: SpaceThread;
  readonly #line: CallLine;
  readonly #closeFds: () => void;
  readonly #mapsMax: number;
  #lastSpaceId = 0;
  #disposed: Promise<void> | undefined;

  private constructor(parts: {
    readonly facts: DeviceFacts;
    readonly thread: SpaceThread;
    readonly line: CallLine;
    readonly closeFds: () => void;
    readonly mapsMax: number;
  }) {
    this.facts = parts.facts;
    this.#thread = parts.thread;
    this.ended = parts.thread.ended;
    this.#line = parts.line;
    this.#closeFds = parts.closeFds;
    this.#mapsMax = parts.mapsMax;
  }

  /**
   * Opens the kernel's iommufd and binds the device in a thread of its own, or has the thread use
   * the container that there is.
   *
   * @throws OsError of the open or the bind; LessorError `FUNCTION_GONE` when the thread fails
   */
  static async open(options: KernelSpacesOptions): Promise<KernelAddressSpaces> {
    const { deviceFd, container } = options;
    // The device first: nothing of it may reach memory that is no longer pinned.
    const fds = [deviceFd, ...(container ? [container.groupFd, container.containerFd] : [])];
    const closeFds = (): void => closeAll(fds);
    let thread: SpaceThread | undefined;
    try {
      let data: WorkerData;
      if (container !== undefined) data = { container: container.containerFd.number };
      else {
        const iommufd = options.os.open(options.path ?? '/dev/iommu', O_RDWR);
        fds.push(iommufd);
        data = { iommufd: iommufd.number, device: deviceFd.number };
      }
      thread = (options.startThread ?? startWorker)(data);
      const line = new CallLine(thread.post);
      const facts = await bound(thread, line);
      // Closing them ends all DMA of the device: nobody is left who could.
      void thread.ended.then(closeFds);
      const mapsMax = options.mapsMax ?? limits.mapsPerLeaseMax;
      return new KernelAddressSpaces({ facts, thread, line, closeFds, mapsMax });
    } catch (error) {
      await thread?.terminate();
      closeFds();
      throw error;
    }
  }

  /**
   * Opens an address space of its own under a PASID, or a share of the plain one.
   *
   * @param pasid - 1 to 2^pasidBits - 1, not in use; undefined: the plain requester id.
   * @throws LessorError `INVALID_ARGUMENT`, `UNSUPPORTED`, `FUNCTION_GONE`; OsError
   */
  async open({ pasid }: { readonly pasid: number | undefined }): Promise<AddressSpace> {
    if (this.#disposed) throw new LessorError('LEASE_ENDED', 'the IOMMU is closed');
    if (pasid !== undefined) {
      const { pasidBits } = this.facts;
      if (pasidBits === 0) throw new LessorError('UNSUPPORTED', 'the function has no PASIDs');
      toCount(pasid, 'pasid', 2 ** pasidBits - 1);
    }
    this.#lastSpaceId += 1;
    const spaceId = this.#lastSpaceId;
    await this.#line.call({ type: 'open', spaceId, pasid });
    const reach = reachOf(this.facts);
    return new RemoteSpace({ line: this.#line, spaceId, pasid, reach, mapsMax: this.#mapsMax });
  }

  /** Ends every address space, takes the device out of the IOMMU and ends the thread. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  async #dispose(): Promise<void> {
    try {
      await this.#line.call({ type: 'end' });
    } finally {
      await this.#thread.terminate();
      this.#closeFds();
    }
  }
}

/** Waits until the thread has bound the device, and then passes its answers on. */
function bound(thread: SpaceThread, line: CallLine): Promise<DeviceFacts> {
  void thread.ended.then((detail) => line.end(detail));
  return new Promise((resolve, reject) => {
    thread.onMessage((message) => {
      if (message.type === 'done') line.take(message);
      else if (message.type === 'bound') resolve(message.facts);
      else reject(fromWords(message.error));
    });
    void thread.ended.then((detail) => reject(new LessorError('FUNCTION_GONE', detail)));
  });
}
