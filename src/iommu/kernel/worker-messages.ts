// What the thread of a kernel IOMMU and the main thread tell each other. Descriptors go by number:
// the main thread owns every one.
import {
  type ErrorCode,
  isLessorError,
  isOsError,
  LessorError,
  OsError,
} from '../../base/errors.js';
import type { IovaRange } from '../requests.js';
import type { Access } from '../types.js';

/** Descriptors that the thread works with: an iommufd and a device for it, or a container. */
export type WorkerData =
  | { readonly iommufd: number; readonly device: number }
  | { readonly container: number };

/** What the thread says of the device when it is bound. */
export interface DeviceFacts {
  readonly pasidBits: number;
  readonly pageBytes: number;
  readonly aperture: IovaRange;
}

/** The main thread chooses the ids of spaces and mappings; none is ever used again. */
export type SpaceRequest =
  | { readonly type: 'open'; readonly spaceId: number; readonly pasid: number | undefined }
  | {
      readonly type: 'map';
      readonly spaceId: number;
      readonly mappingId: number;
      readonly fd: number | undefined;
      readonly offsetBytes: number;
      readonly iova: number;
      readonly lengthBytes: number;
      readonly access: Access;
    }
  | { readonly type: 'unmap'; readonly spaceId: number; readonly mappingId: number }
  | { readonly type: 'close'; readonly spaceId: number }
  /** The device leaves the IOMMU; the last request. */
  | { readonly type: 'end' };

export interface RequestMessage {
  readonly callId: number;
  readonly request: SpaceRequest;
}

/** An error, as far as it can go from thread to thread. */
export type ErrorWords =
  | {
      readonly kind: 'lessor';
      readonly code: ErrorCode;
      readonly detail: string;
      readonly hint: string;
    }
  | { readonly kind: 'os'; readonly errno: OsError['errno']; readonly syscall: string }
  | { readonly kind: 'other'; readonly detail: string };

export type WorkerMessage =
  | { readonly type: 'bound'; readonly facts: DeviceFacts }
  | { readonly type: 'refused'; readonly error: ErrorWords }
  | { readonly type: 'done'; readonly callId: number; readonly error: ErrorWords | undefined };

export function toWords(error: unknown): ErrorWords {
  if (isLessorError(error)) {
    const { code, message: detail, hint } = error;
    return { kind: 'lessor', code, detail, hint };
  }
  if (isOsError(error)) return { kind: 'os', errno: error.errno, syscall: error.syscall };
  return { kind: 'other', detail: error instanceof Error ? error.message : String(error) };
}

export function fromWords(words: ErrorWords): Error {
  switch (words.kind) {
    case 'lessor':
      return new LessorError(words.code, words.detail, { hint: words.hint });
    case 'os':
      return new OsError(words.errno, words.syscall);
    case 'other':
      return new LessorError('SYSTEM_FAILED', words.detail);
  }
}
