// The file of a fault queue: page requests out, answers in, as records of bytes.
// @see linux drivers/iommu/iommufd/eventq.c iommufd_fault_fops_read, iommufd_fault_fops_write
import {
  IOMMU_PGFAULT_FLAGS_LAST_PAGE,
  IOMMU_PGFAULT_FLAGS_PASID_VALID,
  IOMMUFD_PAGE_RESP_INVALID,
  IOMMUFD_PAGE_RESP_SUCCESS,
  iommuHwptPageResponse,
  iommuHwptPgfault,
} from '../../uapi/iommufd-fault.js';
import type { FaultQueue } from '../iommufd.js';
import type { SoftContext } from './context.js';
import { FaultObject, type PageRequest, type RequestGroup } from './fault-object.js';
import { fail } from './objects.js';

const { sizeBytes: recordBytes } = iommuHwptPgfault;
const { sizeBytes: responseBytes } = iommuHwptPageResponse;

export class SoftFaultQueue implements FaultQueue {
  readonly #context: SoftContext;
  readonly #object: FaultObject;
  #isOpen = true;

  constructor(context: SoftContext, object: FaultObject) {
    this.#context = context;
    this.#object = object;
  }

  read(lengthBytes: number): Uint8Array {
    this.#checkOpen('read');
    if (lengthBytes % recordBytes !== 0) throw fail('ESPIPE', 'read', `${lengthBytes} bytes`);
    const { pending, delivered } = this.#object;
    const groups: RequestGroup[] = [];
    let byteCount = 0;
    for (const group of pending) {
      const bytes = group.requests.length * recordBytes;
      if (byteCount + bytes > lengthBytes) break;
      byteCount += bytes;
      groups.push(group);
    }
    if (groups.length === 0 && pending.length > 0) {
      throw fail('EINVAL', 'read', 'a group does not fit');
    }
    pending.splice(0, groups.length);
    const records = new Uint8Array(byteCount);
    let at = 0;
    for (const group of groups) {
      const cookie = delivered.add(group);
      for (const request of group.requests) {
        iommuHwptPgfault.encodeAt(recordOf(request, group, cookie), records, at);
        at += recordBytes;
      }
    }
    return records;
  }

  write(responses: Uint8Array): number {
    this.#checkOpen('write');
    if (responses.length % responseBytes !== 0) {
      throw fail('ESPIPE', 'write', `${responses.length} bytes`);
    }
    const { delivered } = this.#object;
    for (let done = 0; done < responses.length; done += responseBytes) {
      const record = responses.subarray(done, done + responseBytes);
      const { cookie, code } = iommuHwptPageResponse.decode(record);
      const isKnown = code === IOMMUFD_PAGE_RESP_SUCCESS || code === IOMMUFD_PAGE_RESP_INVALID;
      const group = isKnown ? delivered.get(cookie) : undefined;
      if (group === undefined) {
        if (done > 0) return done;
        throw fail('EINVAL', 'write', `cookie ${cookie}, code ${code}`);
      }
      delivered.remove(cookie);
      group.answer(code === IOMMUFD_PAGE_RESP_SUCCESS ? 'success' : 'invalid');
    }
    return responses.length;
  }

  isReadable(): boolean {
    this.#checkOpen('poll');
    return this.#object.pending.length > 0;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#object.removeUser();
    this.#context.dropHolder(this);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #checkOpen(call: string): void {
    if (!this.#isOpen) throw fail('EBADF', call, 'closed');
  }
}

/** IOMMU_FAULT_QUEUE_ALLOC. @throws OsError `EOPNOTSUPP` */
export function allocateFaultQueue(
  context: SoftContext,
  flags: number,
): { readonly faultId: number; readonly queue: SoftFaultQueue } {
  if (flags !== 0) throw fail('EOPNOTSUPP', 'IOMMU_FAULT_QUEUE_ALLOC', `flags ${flags}`);
  const object = new FaultObject();
  const queue = new SoftFaultQueue(context, object);
  object.id = context.objects.add(object);
  context.holders.add(queue);
  return { faultId: object.id, queue };
}

function recordOf(request: PageRequest, group: RequestGroup, cookie: number) {
  const { pasid, grpid, perm, addr, isLast } = request;
  let flags = isLast ? IOMMU_PGFAULT_FLAGS_LAST_PAGE : 0;
  if (pasid !== undefined) flags |= IOMMU_PGFAULT_FLAGS_PASID_VALID;
  const dev_id = group.handle.device.id;
  return { flags, dev_id, pasid: pasid ?? 0, grpid, perm, __reserved: 0, addr, length: 0, cookie };
}
