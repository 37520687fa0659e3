// The client's side of DEVICE_FEATURE and of the commands that carry a device's state.
import { LessorError, ProtocolError } from '../../base/errors.js';
import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
} from '../../uapi/vfio.js';
import {
  deviceFeature,
  dmaLoggingRange,
  featureDmaLogging,
  featureDmaReport,
  featureMigration,
  featureMigState,
  migData,
  VFIO_USER_DEVICE_FEATURE,
  VFIO_USER_MIG_DATA_READ,
  VFIO_USER_MIG_DATA_WRITE,
} from '../../uapi/vfio-user.js';
import type { DmaRange, MigrationState } from '../endpoint.js';
import type { Requester } from '../requester.js';
import { bitmapBytes } from './dirty-bitmap.js';
import { stateNumbers, stateOf } from './states.js';

const headBytes = deviceFeature.sizeBytes;
const noBytes = new Uint8Array(0);

function checkRange({ iova, lengthBytes }: DmaRange): void {
  if (iova >= 0n && lengthBytes > 0n && iova + lengthBytes <= 1n << 64n) return;
  throw new LessorError('INVALID_ARGUMENT', `${lengthBytes} bytes at ${iova}`);
}

function checkPage(pageBytes: number): bigint {
  if (Number.isInteger(Math.log2(pageBytes)) && pageBytes >= 1) return BigInt(pageBytes);
  throw new LessorError('INVALID_ARGUMENT', `a page of ${pageBytes} bytes`);
}

/** Sends one DEVICE_FEATURE; `read` gets the data behind the head of the reply. */
function ask<T>(
  requester: Requester,
  flags: number,
  data: Uint8Array,
  replyDataBytes: number,
  read: (data: Uint8Array) => T,
  deadlineMs = requester.deadlineMs,
): Promise<T> {
  const argsz = headBytes + Math.max(data.length, replyDataBytes);
  const payload = new Uint8Array(headBytes + data.length);
  deviceFeature.encodeAt({ argsz, flags }, payload, 0);
  payload.set(data, headBytes);
  const terms = { replyBytesMax: argsz, deadlineMs };
  return requester.call(VFIO_USER_DEVICE_FEATURE, payload, terms, (reply) => {
    const head = deviceFeature.decodeAt(reply.payload, 0);
    if (head.flags === flags) return read(reply.payload.subarray(headBytes));
    throw new ProtocolError(`${deviceFeature.name}.flags`, 4, `0x${head.flags.toString(16)}`);
  });
}

/**
 * Whether the device has a feature and can do with it what is asked for.
 *
 * @param feature - VFIO_DEVICE_FEATURE_*, an index.
 * @param operations - VFIO_DEVICE_FEATURE_GET, _SET, both, or 0 for the feature alone.
 * @throws OsError `EINVAL` when it has not.
 */
export function probeFeature(
  requester: Requester,
  feature: number,
  operations: number,
): Promise<void> {
  const flags = VFIO_DEVICE_FEATURE_PROBE | operations | feature;
  return ask(requester, flags, noBytes, 0, () => {});
}

/** Takes the state of a device from one server to another. @see vfio-user DEVICE_FEATURE */
export class VfioUserMigration {
  readonly #requester: Requester;

  constructor(requester: Requester) {
    this.#requester = requester;
  }

  /** What the device can do; rejects with OsError `EINVAL` when it does not migrate. */
  abilities(): Promise<{ readonly stopCopy: boolean; readonly preCopy: boolean }> {
    const flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION;
    return ask(this.#requester, flags, noBytes, featureMigration.sizeBytes, (data) => {
      const can = featureMigration.decode(data).flags;
      return {
        stopCopy: (can & VFIO_MIGRATION_STOP_COPY) !== 0,
        preCopy: (can & VFIO_MIGRATION_PRE_COPY) !== 0,
      };
    });
  }

  state(): Promise<MigrationState> {
    const flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
    return ask(this.#requester, flags, noBytes, featureMigState.sizeBytes, (data) => {
      const { deviceState } = featureMigState.decode(data);
      const state = stateOf(deviceState);
      if (state !== undefined) return state;
      throw new ProtocolError(`${featureMigState.name}.device_state`, 8, `${deviceState}`);
    });
  }

  /**
   * Resolves when the device is there. A device that fails on the way is in `error`, which only a
   * reset leaves.
   *
   * @param deadlineMs - A device may take long to stop; default as for every request.
   */
  setState(state: MigrationState, deadlineMs?: number): Promise<void> {
    const flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
    const deviceState = stateNumbers[state];
    const data = featureMigState.encode({ deviceState, dataFd: 0xffff_ffff });
    return ask(this.#requester, flags, data, data.length, () => {}, deadlineMs);
  }

  /**
   * The next bytes of the state, in `pre-copy` and `stop-copy`.
   *
   * @param lengthBytes - At most what both sides take in one message.
   * @returns Fewer bytes than asked for at the end of what there is.
   */
  async read(lengthBytes: number): Promise<Uint8Array> {
    const argsz = migData.sizeBytes + this.#checkLength(lengthBytes);
    const payload = migData.encode({ argsz, size: lengthBytes });
    const terms = { replyBytesMax: argsz };
    return this.#requester.call(VFIO_USER_MIG_DATA_READ, payload, terms, (reply) => {
      // libvfio-user always sends as many bytes as were asked for; `size` of them count.
      const { size } = migData.decodeAt(reply.payload, 0);
      const data = reply.payload.subarray(migData.sizeBytes);
      if (size <= data.length) return data.subarray(0, size);
      throw new ProtocolError(`${migData.name}.size`, 4, `${size} in ${data.length} bytes`);
    });
  }

  /**
   * Reads on until the end of what there is.
   *
   * @param bytesMax - More is refused with LessorError `QUOTA_EXCEEDED`.
   */
  async readAll(bytesMax: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let total = 0;
    for (;;) {
      const part = await this.read(this.#requester.dataBytesMax);
      total += part.length;
      if (total > bytesMax)
        throw new LessorError('QUOTA_EXCEEDED', `a state over ${bytesMax} bytes`);
      parts.push(part);
      if (part.length < this.#requester.dataBytesMax) return new Uint8Array(Buffer.concat(parts));
    }
  }

  /** Bytes of a state, in `resuming`, in as many messages as it takes. */
  async write(bytes: Uint8Array): Promise<void> {
    const { dataBytesMax } = this.#requester;
    for (let done = 0; done < bytes.length; done += dataBytesMax) {
      const part = bytes.subarray(done, done + dataBytesMax);
      const payload = new Uint8Array(migData.sizeBytes + part.length);
      migData.encodeAt({ argsz: payload.length, size: part.length }, payload, 0);
      payload.set(part, migData.sizeBytes);
      await this.#requester.call(VFIO_USER_MIG_DATA_WRITE, payload, {}, () => {});
    }
  }

  #checkLength(lengthBytes: number): number {
    const { dataBytesMax } = this.#requester;
    const isGood = Number.isInteger(lengthBytes) && lengthBytes >= 1 && lengthBytes <= dataBytesMax;
    if (isGood) return lengthBytes;
    throw new LessorError('INVALID_ARGUMENT', `${lengthBytes} bytes, at most ${dataBytesMax}`);
  }
}

/** What the device wrote by DMA, page by page. @see vfio-user DEVICE_FEATURE */
export class VfioUserDirtyPages {
  readonly #requester: Requester;

  constructor(requester: Requester) {
    this.#requester = requester;
  }

  /**
   * Starts to log.
   *
   * @param pageBytes - What would be liked, a power of two.
   * @param ranges - None: everything.
   * @returns The page size in use.
   */
  async start(pageBytes: number, ranges: readonly DmaRange[] = []): Promise<number> {
    const pageSize = checkPage(pageBytes);
    const { sizeBytes } = featureDmaLogging;
    const data = new Uint8Array(sizeBytes + ranges.length * dmaLoggingRange.sizeBytes);
    featureDmaLogging.encodeAt({ pageSize, numRanges: ranges.length }, data, 0);
    ranges.forEach((range, index) => {
      checkRange(range);
      const value = { iova: range.iova, length: range.lengthBytes };
      dmaLoggingRange.encodeAt(value, data, sizeBytes + index * dmaLoggingRange.sizeBytes);
    });
    const flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START;
    return ask(this.#requester, flags, data, data.length, (reply) =>
      Number(featureDmaLogging.decodeAt(reply, 0).pageSize),
    );
  }

  stop(): Promise<void> {
    const data = featureDmaLogging.encode({ pageSize: 4096n, numRanges: 0 });
    const flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP;
    return ask(this.#requester, flags, data, data.length, () => {});
  }

  /**
   * Pages written since the last report: one bit each, lowest first.
   *
   * @param pageBytes - What one bit stands for, a power of two.
   */
  async report(range: DmaRange, pageBytes: number): Promise<Uint8Array> {
    checkRange(range);
    const pageSize = checkPage(pageBytes);
    const { iova, lengthBytes } = range;
    const bytes = Number(bitmapBytes(lengthBytes, pageSize));
    const data = featureDmaReport.encode({ iova, length: lengthBytes, pageSize });
    const flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT;
    const replyBytes = featureDmaReport.sizeBytes + bytes;
    return ask(this.#requester, flags, data, replyBytes, (reply) => {
      const bitmap = reply.subarray(featureDmaReport.sizeBytes);
      if (bitmap.length === bytes) return bitmap;
      throw new ProtocolError(featureDmaReport.name, 24, `a bitmap of ${bitmap.length} bytes`);
    });
  }
}
