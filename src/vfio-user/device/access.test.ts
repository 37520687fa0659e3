// Register accesses by message: one access of the device each, or none at all.
import { describe, expect, it } from 'vitest';
import type { DeviceRegion } from '../../device/types.js';
import { errnoOf, type Lab, labOs, startLab } from '../testing/lab.js';
import { labPage, labRegister } from '../testing/lab-device.js';

const config = 7;
const rom = 6;
const { STORAGE } = labRegister;

function accessCalls(lab: Lab): string[] {
  return lab.device.calls.splice(0);
}

describe('registers behind callbacks', () => {
  it.each([1, 2, 4, 8])('are read and written in one access of %i bytes', async (width) => {
    await using lab = await startLab();
    const bytes = Uint8Array.from({ length: width }, (_, index) => 0xf8 + index);
    await lab.client.regionWrite(0, STORAGE + width, bytes);
    expect(await lab.client.regionRead(0, STORAGE + width, width)).toEqual(bytes);
    const value = Buffer.from(bytes.toReversed()).toString('hex');
    const number = BigInt(`0x${value}`);
    expect(accessCalls(lab)).toEqual([
      `write 0 ${STORAGE + width} ${width} ${number}`,
      `read 0 ${STORAGE + width} ${width}`,
    ]);
  });

  it.each([
    [0, 3],
    [0, 5],
    [0, 16],
    [1, 2],
    [2, 4],
    [4, 8],
  ])('refuse an access at %i of %i bytes', async (offset, length) => {
    await using lab = await startLab();
    const { client } = lab;
    expect(await errnoOf(client.regionRead(0, STORAGE + offset, length))).toBe('EINVAL');
    const bytes = new Uint8Array(length);
    expect(await errnoOf(client.regionWrite(0, STORAGE + offset, bytes))).toBe('EINVAL');
    expect(await errnoOf(client.regionRead(2, labPage.target + offset, length))).toBe('EINVAL');
    expect(accessCalls(lab)).toEqual([]);
  });

  it('answer when the device does, in the order of the requests', async () => {
    await using lab = await startLab();
    const { client } = lab;
    await client.write32(0, labRegister.LATER, 20);
    const order: number[] = [];
    await Promise.all([
      client.read32(0, labRegister.LATER).then((value) => order.push(value)),
      client.read32(0, labRegister.RESETS).then((value) => order.push(value)),
    ]);
    expect(order).toEqual([20, 0]);
  });

  it('answer with the errno of what the device refuses', async () => {
    await using lab = await startLab();
    expect(await errnoOf(lab.client.write32(0, labRegister.MANNERS, 1))).toBe('ENOSPC');
    expect(await lab.client.read32(0, labRegister.RESETS)).toBe(0);
  });

  it('read ones behind the end of a region that is no power of two', async () => {
    const regions = [{ index: 1, lengthBytes: 0x30 }];
    await using lab = await startLab({ lab: { regions, config: { msix: undefined as never } } });
    const { client } = lab;
    expect((await client.regionInfo(1)).lengthBytes).toBe(0x40);
    expect(await client.read64(1, 0x30)).toBe(2n ** 64n - 1n);
    expect(await client.read16(1, 0x3e)).toBe(0xffff);
    await client.write32(1, 0x38, 1);
    expect(accessCalls(lab)).toEqual([]);
    expect(await client.read32(1, 0x2c)).toBe(0x2c);
  });

  it('are none in a region that the device lacks', async () => {
    await using lab = await startLab();
    expect(await errnoOf(lab.client.read32(1, 0))).toBe('EINVAL');
    expect(await errnoOf(lab.client.read32(9, 0))).toBe('EINVAL');
  });
});

describe('frames by message', () => {
  it.each([1, 2, 4, 8])('take one access of %i bytes, without the device', async (width) => {
    await using lab = await startLab();
    const { client } = lab;
    const bytes = Uint8Array.from({ length: width }, (_, index) => index + 1);
    await client.regionWrite(2, labPage.target + 64 + width, bytes);
    expect(await client.regionRead(2, labPage.target + 64 + width, width)).toEqual(bytes);
    expect(accessCalls(lab)).toEqual([]);
  });

  it('are the memory that the client maps', async () => {
    await using lab = await startLab();
    const { client } = lab;
    const info = await client.regionInfo(2);
    const lengthBytes = info.lengthBytes;
    using mapping = labOs.memory.map(info.fd!, { offsetBytes: 0, lengthBytes, writable: true });
    info.fd?.close();
    const words = new Uint32Array(mapping.buffer);
    words[100] = 77;
    expect(await client.read32(2, 400)).toBe(77);
    await client.write32(2, 404, 78);
    expect(words[101]).toBe(78);
  });

  it('cannot be resized or sealed by the client', async () => {
    await using lab = await startLab();
    const { fd } = await lab.client.regionInfo(2);
    expect(() => labOs.memory.truncate(fd!, 0)).toThrow(/EPERM/);
    expect(() => labOs.memory.truncate(fd!, 2 ** 20)).toThrow(/EPERM/);
    expect(() => labOs.memory.addSeals(fd!, 8)).toThrow(/EPERM/);
    fd?.close();
  });

  it('refuse writes where only the device writes', async () => {
    await using lab = await startLab();
    expect(await errnoOf(lab.client.write32(2, labPage.status, 1))).toBe('EPERM');
    expect(await lab.client.read32(2, labPage.status)).toBe(0);
  });

  it('lie beside registers behind callbacks', async () => {
    await using lab = await startLab();
    await lab.client.write32(2, 0x1000, 1);
    expect(await lab.client.read32(2, 0x3004)).toBe(4);
    expect(accessCalls(lab)).toEqual(['write 2 4096 4 1', 'read 2 12292 4']);
  });

  it('wake the device when written, posted or awaited', async () => {
    await using lab = await startLab();
    const { client } = lab;
    client.regionWritePosted(2, labPage.target, Uint8Array.of(3, 0, 0, 0));
    while ((await client.read32(2, labPage.status)) !== 3);
    await client.write32(2, labPage.target, 4);
    while ((await client.read32(2, labPage.status)) !== 4);
  });

  it('of a region that only the device writes come with a read-only descriptor', async () => {
    const frames = [{ offsetBytes: 0, lengthBytes: 4096, writable: false }];
    const regions = [{ index: 0, lengthBytes: 4096, frames }];
    await using lab = await startLab({ lab: { regions, config: { msix: undefined as never } } });
    const { fd, flags } = await lab.client.regionInfo(0);
    expect(flags & 3).toBe(1);
    expect(labOs.memory.identity(fd!).access).toBe('read');
    const spec = { offsetBytes: 0, lengthBytes: 4096, writable: true };
    expect(() => labOs.memory.map(fd!, spec)).toThrow(/EACCES/);
    fd?.close();
    expect(await errnoOf(lab.client.write32(0, 0, 1))).toBe('EPERM');
  });
});

describe('other regions', () => {
  const regions: DeviceRegion[] = [
    { index: rom, lengthBytes: 3000 },
    { index: 9, lengthBytes: 100, type: { type: 0x8086, subtype: 3 } },
  ];
  const lab = { regions, config: { msix: undefined as never } };

  it('take any offset and count', async () => {
    await using served = await startLab({ lab });
    const { client } = served;
    const bytes = await client.regionRead(rom, 1, 14);
    // Each piece of the widest aligned access shows its own offset.
    expect([...bytes]).toEqual([1, 2, 0, 4, 0, 0, 0, 8, 0, 0, 0, 12, 0, 14].slice(0, 14));
    expect(accessCalls(served)).toEqual([
      `read ${rom} 1 1`,
      `read ${rom} 2 2`,
      `read ${rom} 4 4`,
      `read ${rom} 8 4`,
      `read ${rom} 12 2`,
      `read ${rom} 14 1`,
    ]);
    await client.regionWrite(9, 7, new Uint8Array(9));
    expect(accessCalls(served)).toEqual(['write 9 7 1 0', 'write 9 8 8 0']);
  });

  it('are as large as they say', async () => {
    await using served = await startLab({ lab });
    const { client } = served;
    expect((await client.deviceInfo()).regionCount).toBe(10);
    expect((await client.regionInfo(rom)).lengthBytes).toBe(4096);
    expect((await client.regionRead(rom, 3000, 1096)).every((byte) => byte === 0xff)).toBe(true);
    expect((await client.regionInfo(9)).lengthBytes).toBe(100);
    expect(await errnoOf(client.regionRead(9, 97, 4))).toBe('EINVAL');
  });

  it('give the ROM an address register', async () => {
    await using served = await startLab({ lab });
    await served.client.write32(config, 0x30, 0xffff_ffff);
    expect(await served.client.read32(config, 0x30)).toBe(0xffff_f001);
  });
});

describe('configuration space', () => {
  it('takes any offset and count within 256 bytes', async () => {
    await using lab = await startLab();
    const { client } = lab;
    expect(await client.regionRead(config, 0, 256)).toHaveLength(256);
    expect([...(await client.regionRead(config, 1, 3))]).toEqual([0x1b, 0x08, 0x1c]);
    expect(await errnoOf(client.regionRead(config, 254, 3))).toBe('EINVAL');
    await client.regionWrite(config, 3, Uint8Array.of(0xff, 0x06, 0x04));
    expect(await client.read16(config, 4)).toBe(0x0406);
  });
});
