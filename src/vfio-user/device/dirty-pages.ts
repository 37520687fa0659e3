// What a client asks of the log of written pages, checked.
import { OsError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { DmaRange, EndpointDirtyPages } from '../endpoint.js';
import type { DirtyLog } from './dirty-log.js';
import type { DmaMaps } from './dma-maps.js';

function fail(errno: 'EINVAL' | 'ENOENT', detail: string): never {
  throw new OsError(errno, 'vfio-user', detail);
}

/** Everything is logged, whatever ranges were named: a report is about one of them anyway. */
export function createDirtyPages(log: DirtyLog, maps: DmaMaps): EndpointDirtyPages {
  return {
    start(pageBytes) {
      const used = log.start(pageBytes);
      // Translations that the device keeps were made without a mark.
      maps.invalidate();
      return used;
    },
    stop: () => log.stop(),
    report(range: DmaRange, pageBytes) {
      const { iova, lengthBytes } = range;
      if (!maps.isMapped(range)) fail('ENOENT', 'dirty pages of what is not mapped');
      if (!Number.isSafeInteger(pageBytes) || pageBytes <= 0) fail('EINVAL', `${pageBytes} bytes`);
      const pages = lengthBytes / BigInt(pageBytes);
      if (pages / 8n > BigInt(limits.vfioUserDataBytesMax)) {
        fail('EINVAL', `a bitmap of ${pages} bits`);
      }
      const bitmap = log.report(Number(iova), Number(lengthBytes), pageBytes);
      maps.invalidate();
      return bitmap;
    },
  };
}
