// What a server has to be told again when it is back: DMA maps and interrupts. It owns one
// descriptor of everything that it may send; what goes to a server is a duplicate.
import { closeAll, type Fd } from '../os/fd.js';
import type { VfioUserClient } from './client.js';
import type { DmaMapRequest, DmaRange, IrqChange } from './endpoint.js';

interface Binding {
  readonly index: number;
  readonly vector: number;
  readonly fd: Fd;
}

interface Mask {
  readonly index: number;
  readonly vector: number;
}

function keyOf(index: number, vector: number): string {
  return `${index}/${vector}`;
}

/** What one server was told so far; differs from what is wanted while others change that. */
class Told {
  readonly maps = new Map<bigint, DmaMapRequest>();
  readonly bindings = new Map<string, Binding>();
  readonly masks = new Map<string, Mask>();
}

/** Sends a duplicate of `fd`; whoever sends it owns that. */
export function copyOf(fd: Fd | undefined): { readonly fd?: Fd } {
  return fd === undefined ? {} : { fd: fd.duplicate() };
}

/** Duplicates all or none. @throws OsError `EMFILE` */
export function copiesOf(fds: readonly Fd[]): Fd[] {
  const copies: Fd[] = [];
  try {
    for (const fd of fds) copies.push(fd.duplicate());
    return copies;
  } catch (error) {
    closeAll(copies);
    throw error;
  }
}

export class ReplayState {
  readonly #maps = new Map<bigint, DmaMapRequest>();
  readonly #bindings = new Map<string, Binding>();
  readonly #masks = new Map<string, Mask>();

  get mapCount(): number {
    return this.#maps.size;
  }

  /** Takes ownership of `request.fd`. */
  addMap(request: DmaMapRequest): void {
    this.#maps.get(request.iova)?.fd?.close();
    this.#maps.set(request.iova, request);
  }

  /** Forgets the maps that lie wholly inside the range. */
  removeMaps(range: DmaRange | 'all'): void {
    const exact = range === 'all' ? undefined : this.#maps.get(range.iova);
    if (range !== 'all' && exact?.lengthBytes === range.lengthBytes) {
      this.#forgetMap(exact);
      return;
    }
    for (const map of [...this.#maps.values()]) {
      const isInside =
        range === 'all' ||
        (map.iova >= range.iova && map.iova + map.lengthBytes <= range.iova + range.lengthBytes);
      if (isInside) this.#forgetMap(map);
    }
  }

  /** Notes a change of interrupts that the server made; takes ownership of a bind's `fds`. */
  noteIrqs(change: IrqChange): void {
    const { index } = change;
    switch (change.action) {
      case 'bind':
        for (const [offset, fd] of change.fds.entries()) {
          const vector = change.start + offset;
          this.#unbind(keyOf(index, vector));
          this.#bindings.set(keyOf(index, vector), { index, vector, fd });
        }
        break;
      case 'unbind':
        for (let at = change.start; at < change.start + change.count; at += 1) {
          this.#unbind(keyOf(index, at));
        }
        break;
      case 'disable':
        for (const [key, binding] of [...this.#bindings]) {
          if (binding.index === index) this.#unbind(key);
        }
        break;
      case 'mask':
        for (const vector of change.vectors) {
          this.#masks.set(keyOf(index, vector), { index, vector });
        }
        break;
      case 'unmask':
        for (const vector of change.vectors) this.#masks.delete(keyOf(index, vector));
        break;
      default:
    }
  }

  /**
   * Tells a fresh server everything, until it knows what is wanted by then.
   *
   * @param done - Called in the same turn in which nothing is left to tell.
   */
  async replay(client: VfioUserClient, done: () => void): Promise<void> {
    const told = new Told();
    while (
      (await this.#dropMaps(client, told)) ||
      (await this.#tellMaps(client, told)) ||
      (await this.#dropBindings(client, told)) ||
      (await this.#tellBindings(client, told)) ||
      (await this.#tellMasks(client, told)) ||
      !this.#isTold(told)
    );
    done();
  }

  /** Closes every descriptor and forgets everything. */
  clear(): void {
    this.removeMaps('all');
    for (const key of [...this.#bindings.keys()]) this.#unbind(key);
    this.#masks.clear();
  }

  #forgetMap(map: DmaMapRequest): void {
    this.#maps.delete(map.iova);
    map.fd?.close();
  }

  #unbind(key: string): void {
    this.#bindings.get(key)?.fd.close();
    this.#bindings.delete(key);
  }

  // Each of these tells what is due and says whether there was anything.

  async #dropMaps(client: VfioUserClient, { maps }: Told): Promise<boolean> {
    let changed = false;
    for (const [iova, map] of maps) {
      if (this.#maps.get(iova) === map) continue;
      changed = true;
      maps.delete(iova);
      await client.dmaUnmap({ iova, lengthBytes: map.lengthBytes });
    }
    return changed;
  }

  async #tellMaps(client: VfioUserClient, { maps }: Told): Promise<boolean> {
    let changed = false;
    for (const map of [...this.#maps.values()]) {
      // It may have gone while those before it were sent.
      if (maps.has(map.iova) || this.#maps.get(map.iova) !== map) continue;
      changed = true;
      maps.set(map.iova, map);
      const { fd, ...rest } = map;
      await client.dmaMap({ ...rest, ...copyOf(fd) });
    }
    return changed;
  }

  async #dropBindings(client: VfioUserClient, { bindings }: Told): Promise<boolean> {
    let changed = false;
    for (const [key, binding] of bindings) {
      if (this.#bindings.get(key) === binding) continue;
      changed = true;
      bindings.delete(key);
      const { index, vector } = binding;
      await client.setIrqs({ action: 'unbind', index, start: vector, count: 1 });
    }
    return changed;
  }

  async #tellBindings(client: VfioUserClient, { bindings }: Told): Promise<boolean> {
    let changed = false;
    for (const [key, binding] of [...this.#bindings]) {
      if (bindings.has(key) || this.#bindings.get(key) !== binding) continue;
      changed = true;
      bindings.set(key, binding);
      const { index, vector, fd } = binding;
      await client.setIrqs({ action: 'bind', index, start: vector, fds: [fd.duplicate()] });
    }
    return changed;
  }

  async #tellMasks(client: VfioUserClient, { masks }: Told): Promise<boolean> {
    let changed = false;
    for (const action of ['mask', 'unmask'] as const) {
      const [wanted, known] = action === 'mask' ? [this.#masks, masks] : [masks, this.#masks];
      for (const [key, mask] of [...wanted]) {
        if (known.has(key)) continue;
        changed = true;
        if (action === 'mask') masks.set(key, mask);
        else masks.delete(key);
        await client.setIrqs({ action, index: mask.index, vectors: [mask.vector] });
      }
    }
    return changed;
  }

  /** True when nothing changed behind the last look; asked and answered without a pause. */
  #isTold(told: Told): boolean {
    const same = <K, V>(one: ReadonlyMap<K, V>, other: ReadonlyMap<K, V>): boolean =>
      one.size === other.size && [...one].every(([key, value]) => other.get(key) === value);
    return (
      same(this.#maps, told.maps) &&
      same(this.#bindings, told.bindings) &&
      this.#masks.size === told.masks.size &&
      [...this.#masks.keys()].every((key) => told.masks.has(key))
    );
  }
}
