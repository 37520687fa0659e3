// A PCI function as firmware and a guest's driver see it: configuration by the two ports, BARs
// sized and placed, capabilities walked, MSI and MSI-X programmed to write into guest memory.
import assert from 'node:assert/strict';
import type { Qtest } from './qemu/qtest.js';

const addressPort = 0xcf8;
const dataPort = 0xcfc;

export const commandOffset = 0x04;
export const commandMemory = 0x2;
export const commandMaster = 0x4;
export const commandNoIntx = 0x400;
const statusCapabilities = 0x10;
const barCount = 6;
/** Between the end of memory and the chipset's own registers. */
const windowStart = 0xc000_0000;
const slotWindowBytes = 0x0200_0000;

export const capabilityMsi = 0x05;
export const capabilityVendor = 0x09;
export const capabilityMsix = 0x11;

export interface Bar {
  readonly index: number;
  readonly address: number;
  readonly lengthBytes: number;
}

/** Where a vector writes, and what. */
export interface MessageTarget {
  readonly address: number;
  readonly data: number;
}

export class PciSlot {
  readonly qtest: Qtest;
  readonly slot: number;
  readonly bars = new Map<number, Bar>();

  constructor(qtest: Qtest, slot: number) {
    this.qtest = qtest;
    this.slot = slot;
  }

  async #select(offset: number): Promise<void> {
    const address = 0x8000_0000 + (this.slot << 11) + (offset & 0xfc);
    await this.qtest.portOut(addressPort, 4, address);
  }

  async read8(offset: number): Promise<number> {
    await this.#select(offset);
    return this.qtest.portIn(dataPort + (offset & 3), 1);
  }

  async read16(offset: number): Promise<number> {
    await this.#select(offset);
    return this.qtest.portIn(dataPort + (offset & 2), 2);
  }

  async read32(offset: number): Promise<number> {
    await this.#select(offset);
    return this.qtest.portIn(dataPort, 4);
  }

  async write8(offset: number, value: number): Promise<void> {
    await this.#select(offset);
    await this.qtest.portOut(dataPort + (offset & 3), 1, value);
  }

  async write16(offset: number, value: number): Promise<void> {
    await this.#select(offset);
    await this.qtest.portOut(dataPort + (offset & 2), 2, value);
  }

  async write32(offset: number, value: number): Promise<void> {
    await this.#select(offset);
    await this.qtest.portOut(dataPort, 4, value);
  }

  /** The first 256 bytes. */
  async config(): Promise<Uint8Array> {
    const words = new Uint32Array(64);
    for (let index = 0; index < words.length; index += 1) {
      words[index] = await this.read32(index * 4);
    }
    return new Uint8Array(words.buffer);
  }

  /** Capability ids by where they are, in the order of the chain. */
  async capabilities(): Promise<ReadonlyMap<number, number>> {
    const found = new Map<number, number>();
    const status = await this.read16(0x06);
    let offset = (status & statusCapabilities) === 0 ? 0 : await this.read8(0x34);
    while (offset !== 0) {
      assert.ok(!found.has(offset), 'the capability chain is a circle');
      found.set(offset, await this.read8(offset));
      offset = await this.read8(offset + 1);
    }
    return found;
  }

  /** @returns Offset of the first capability with this id. */
  async capability(id: number): Promise<number> {
    for (const [offset, found] of await this.capabilities()) if (found === id) return offset;
    assert.fail(`no capability ${id}`);
  }

  /** Sizes every memory BAR as firmware does, and gives each an address of its own. */
  async placeBars(): Promise<void> {
    let next = windowStart + this.slot * slotWindowBytes;
    for (let index = 0; index < barCount; index += 1) {
      const offset = 0x10 + index * 4;
      const before = await this.read32(offset);
      await this.write32(offset, 0xffff_ffff);
      const mask = await this.read32(offset);
      if (mask === 0) continue;
      assert.equal(mask & 1, 0, `BAR ${index} is an I/O BAR`);
      assert.equal(before & 0xf, mask & 0xf, `BAR ${index} changes its kind`);
      const lengthBytes = (~(mask & ~0xf) + 1) >>> 0;
      assert.equal(lengthBytes & (lengthBytes - 1), 0, `BAR ${index} has ${lengthBytes} bytes`);
      next = Math.ceil(next / lengthBytes) * lengthBytes;
      await this.write32(offset, next);
      this.bars.set(index, { index, address: next, lengthBytes });
      next += lengthBytes;
      const is64 = ((mask >> 1) & 3) === 2;
      if (!is64) continue;
      index += 1;
      await this.write32(0x10 + index * 4, 0);
    }
  }

  async command(bits: number): Promise<void> {
    await this.write16(commandOffset, bits);
  }

  bar(index: number): Bar {
    const bar = this.bars.get(index);
    assert.ok(bar, `no BAR ${index}`);
    return bar;
  }

  /** Address in guest memory space of a register. */
  at(bar: number, offset: number): number {
    return this.bar(bar).address + offset;
  }

  /** Programs MSI: vector n writes `target.data` + n. */
  async enableMsi(target: MessageTarget, vectorsLog2 = 0): Promise<void> {
    const at = await this.capability(capabilityMsi);
    const control = await this.read16(at + 2);
    const is64 = (control & 0x80) !== 0;
    await this.write32(at + 4, target.address);
    if (is64) await this.write32(at + 8, 0);
    await this.write16(at + (is64 ? 12 : 8), target.data);
    await this.write16(at + 2, (control & ~0x71) | (vectorsLog2 << 4) | 1);
  }

  async disableMsi(): Promise<void> {
    const at = await this.capability(capabilityMsi);
    await this.write16(at + 2, (await this.read16(at + 2)) & ~1);
  }

  /** Address of entry `vector` of the MSI-X table. */
  async #msixEntry(vector: number): Promise<number> {
    const table = await this.read32((await this.capability(capabilityMsix)) + 4);
    return this.at(table & 7, (table & ~7) + vector * 16);
  }

  /** The pending bit of a vector. */
  async msixPending(vector: number): Promise<boolean> {
    const pba = await this.read32((await this.capability(capabilityMsix)) + 8);
    const word = await this.qtest.read32(this.at(pba & 7, (pba & ~7) + (vector >> 5) * 4));
    return ((word >>> (vector & 31)) & 1) === 1;
  }

  async msixCount(): Promise<number> {
    return ((await this.read16((await this.capability(capabilityMsix)) + 2)) & 0x7ff) + 1;
  }

  async setMsixVector(vector: number, target: MessageTarget, masked = false): Promise<void> {
    const entry = await this.#msixEntry(vector);
    await this.qtest.write32(entry, target.address);
    await this.qtest.write32(entry + 4, 0);
    await this.qtest.write32(entry + 8, target.data);
    await this.maskMsix(vector, masked);
  }

  async maskMsix(vector: number, masked: boolean): Promise<void> {
    await this.qtest.write32((await this.#msixEntry(vector)) + 12, masked ? 1 : 0);
  }

  /** Enables MSI-X, the whole function masked or not. */
  async enableMsix(functionMasked = false): Promise<void> {
    const at = await this.capability(capabilityMsix);
    const control = (await this.read16(at + 2)) & 0x7ff;
    await this.write16(at + 2, control | 0x8000 | (functionMasked ? 0x4000 : 0));
  }

  async disableMsix(): Promise<void> {
    const at = await this.capability(capabilityMsix);
    await this.write16(at + 2, (await this.read16(at + 2)) & 0x7ff);
  }
}
