// QEMU's qtest protocol: a guest without a guest. One line a command, one line back, lines about
// interrupts in between.
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';

interface Waiting {
  readonly line: string;
  readonly resolve: (words: readonly string[]) => void;
  readonly reject: (error: Error) => void;
}

export class Qtest {
  readonly #stream: Duplex;
  readonly #waiting: Waiting[] = [];
  readonly #raised = new Set<number>();
  readonly #raiseCounts = new Map<number, number>();
  #ended: Error | undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on('error', () => undefined);
    const lines = createInterface({ input: stream });
    lines.on('line', (line) => this.#take(line));
    lines.on('error', () => undefined);
    lines.on('close', () => this.#end());
  }

  /** Interrupt lines that are up, of the device whose lines were intercepted. */
  get raisedLines(): readonly number[] {
    return [...this.#raised].sort((a, b) => a - b);
  }

  /** How often a line went up. */
  raiseCount(line: number): number {
    return this.#raiseCounts.get(line) ?? 0;
  }

  command(line: string): Promise<readonly string[]> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.#waiting.push({ line, resolve, reject });
      this.#stream.write(`${line}\n`);
    });
  }

  /** Width in bits and bytes by the letter that qtest uses: b, w, l, q. */
  async #load(command: string, address: number): Promise<bigint> {
    const [value = ''] = await this.command(`${command} 0x${address.toString(16)}`);
    return BigInt(value);
  }

  async #store(command: string, address: number, value: number | bigint): Promise<void> {
    await this.command(`${command} 0x${address.toString(16)} 0x${value.toString(16)}`);
  }

  async portOut(port: number, widthBytes: 1 | 2 | 4, value: number): Promise<void> {
    await this.#store(`out${{ 1: 'b', 2: 'w', 4: 'l' }[widthBytes]}`, port, value);
  }

  async portIn(port: number, widthBytes: 1 | 2 | 4): Promise<number> {
    return Number(await this.#load(`in${{ 1: 'b', 2: 'w', 4: 'l' }[widthBytes]}`, port));
  }

  async read8(address: number): Promise<number> {
    return Number(await this.#load('readb', address));
  }

  async read16(address: number): Promise<number> {
    return Number(await this.#load('readw', address));
  }

  async read32(address: number): Promise<number> {
    return Number(await this.#load('readl', address));
  }

  read64(address: number): Promise<bigint> {
    return this.#load('readq', address);
  }

  write8(address: number, value: number): Promise<void> {
    return this.#store('writeb', address, value);
  }

  write16(address: number, value: number): Promise<void> {
    return this.#store('writew', address, value);
  }

  write32(address: number, value: number): Promise<void> {
    return this.#store('writel', address, value >>> 0);
  }

  write64(address: number, value: bigint): Promise<void> {
    return this.#store('writeq', address, value);
  }

  /** Guest memory. */
  async readBytes(address: number, lengthBytes: number): Promise<Uint8Array> {
    const [hex = ''] = await this.command(`read 0x${address.toString(16)} ${lengthBytes}`);
    return new Uint8Array(Buffer.from(hex.slice(2), 'hex'));
  }

  async writeBytes(address: number, bytes: Uint8Array): Promise<void> {
    const hex = Buffer.from(bytes).toString('hex');
    await this.command(`write 0x${address.toString(16)} ${bytes.length} 0x${hex}`);
  }

  /** From here on the input lines of a device are reported instead of taking effect. */
  async interceptInterrupts(qomPath: string): Promise<void> {
    await this.command(`irq_intercept_in ${qomPath}`);
  }

  /** Moves the guest's clock on. */
  async stepClock(ns: number): Promise<void> {
    await this.command(`clock_step ${ns}`);
  }

  /** Resolves when QEMU closed its end. */
  async closed(): Promise<void> {
    if (this.#ended === undefined) await once(this.#stream, 'close');
  }

  #take(line: string): void {
    const [first, ...rest] = line.split(' ');
    if (first === 'IRQ') {
      this.#interrupt(rest);
      return;
    }
    const waiting = this.#waiting.shift();
    if (first === 'OK') waiting?.resolve(rest);
    else waiting?.reject(new Error(`qtest ${waiting.line}: ${line}`));
  }

  #interrupt([direction, text]: readonly string[]): void {
    const line = Number(text);
    if (direction === 'raise') {
      this.#raised.add(line);
      this.#raiseCounts.set(line, this.raiseCount(line) + 1);
    } else {
      this.#raised.delete(line);
    }
  }

  #end(): void {
    this.#ended = new Error('QEMU closed the qtest connection');
    for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
  }
}
