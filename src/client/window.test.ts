import { describe, expect, it } from 'vitest';
import type { Errno } from '../base/errno.js';
import { OsError } from '../base/errors.js';
import type { VfioUserClient } from '../vfio-user/client.js';
import { MessageLeaseWindow } from './window.js';

const place = {
  name: 'regs',
  region: 0,
  offsetBytes: 0,
  lengthBytes: 4096,
  access: 'read-write',
  memory: 'device',
} as const;

function windowThatFails(errno: Errno): MessageLeaseWindow {
  const fail = async (): Promise<never> => {
    throw new OsError(errno, 'recvmsg');
  };
  return new MessageLeaseWindow(place, { read32: fail, write32: fail } as never as VfioUserClient);
}

describe('a window by message', () => {
  it.each(['ENODEV', 'EPIPE', 'ECONNRESET'] as const)(
    'is revoked when %s answers',
    async (errno) => {
      const window = windowThatFails(errno);
      const revoked = { code: 'WINDOW_REVOKED', cause: { errno } };
      await expect(window.read32(0)).rejects.toMatchObject(revoked);
      await expect(window.write32(0, 1)).rejects.toMatchObject(revoked);
    },
  );

  it('tells any other failure as it is', async () => {
    const window = windowThatFails('EIO');
    await expect(window.read32(0)).rejects.toMatchObject({ errno: 'EIO', syscall: 'recvmsg' });
    await expect(window.write32(0, 1)).rejects.toMatchObject({ errno: 'EIO', syscall: 'recvmsg' });
  });
});
