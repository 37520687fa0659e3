// What is live, as far as results told: only for choosing what to do next, never for judging it.

/** A parent is an HWPT that nested ones may stand in front of. */
export type ObjectKind = 'ioas' | 'device' | 'mock' | 'hwpt' | 'parent' | 'nested' | 'fault';

export interface KnownArea {
  readonly iova: bigint;
  readonly length: bigint;
  /** Where the process sees the same memory, if it does. */
  readonly source?: bigint;
}

interface Mock {
  readonly device: number;
  /** The HWPT that an attach to an IOAS made. */
  auto: number | undefined;
  readonly pasids: Set<number>;
}

/** How an operation names an object: resolved when it runs, so that it means something. */
export type Choice =
  | { readonly pick: number }
  | { readonly other: number }
  | { readonly stale: number }
  | { readonly raw: number };

export class State {
  readonly #kinds = new Map<number, ObjectKind>();
  readonly #gone: number[] = [];
  readonly #areas = new Map<number, KnownArea[]>();
  /** Descriptors of open files of the VFIO device. */
  readonly deviceFiles: number[] = [];
  /** Descriptors of fault queues and accesses. */
  readonly queues: number[] = [];
  readonly accesses: number[] = [];
  readonly #mocks = new Map<number, Mock>();
  /** The device object of an open file that is bound. */
  readonly #bound = new Map<number, number>();
  readonly #ioasBehind = new Map<number, number>();

  add(id: number, kind: ObjectKind): void {
    this.#kinds.set(id, kind);
    if (kind === 'ioas') this.#areas.set(id, []);
  }

  remove(id: number): void {
    if (!this.#kinds.delete(id)) return;
    this.#areas.delete(id);
    this.#gone.push(id);
  }

  kindOf(id: number): ObjectKind | undefined {
    return this.#kinds.get(id);
  }

  ids(...kinds: readonly ObjectKind[]): number[] {
    return [...this.#kinds].filter(([, kind]) => kinds.includes(kind)).map(([id]) => id);
  }

  /** The id that a choice means, of some kinds if it can be. */
  choose(choice: Choice, ...kinds: readonly ObjectKind[]): number {
    if ('raw' in choice) return choice.raw;
    if ('stale' in choice) return at(this.#gone, choice.stale) ?? 0;
    if ('other' in choice) return at([...this.#kinds.keys()], choice.other) ?? 0;
    return at(this.ids(...kinds), choice.pick) ?? 0;
  }

  addMock(id: number, device: number): void {
    this.#mocks.set(id, { device, auto: undefined, pasids: new Set() });
  }

  /** A mock is attached to what was asked for, by an HWPT. */
  attach(mock: number, target: number, hwpt: number): void {
    const known = this.#mocks.get(mock);
    if (known === undefined) return;
    this.#dropAuto(known);
    if (target === hwpt) return;
    known.auto = hwpt;
    if (this.kindOf(hwpt) === undefined) this.add(hwpt, 'hwpt');
    this.setIoasBehind(hwpt, target);
  }

  /** What an attach to an IOAS made is gone. */
  detach(mock: number): void {
    const known = this.#mocks.get(mock);
    if (known !== undefined) this.#dropAuto(known);
  }

  removeMock(id: number): void {
    const mock = this.#mocks.get(id);
    if (mock === undefined) return;
    this.#mocks.delete(id);
    this.remove(mock.device);
    this.#dropAuto(mock);
  }

  #dropAuto(mock: Mock): void {
    const { auto } = mock;
    mock.auto = undefined;
    if (auto === undefined) return;
    for (const other of this.#mocks.values()) if (other.auto === auto) return;
    this.remove(auto);
  }

  bindFile(key: number, device: number): void {
    this.#bound.set(key, device);
    this.addMock(device, device);
  }

  boundBy(key: number): number | undefined {
    return this.#bound.get(key);
  }

  closeFile(key: number): void {
    const index = this.deviceFiles.indexOf(key);
    if (index >= 0) this.deviceFiles.splice(index, 1);
    const device = this.#bound.get(key);
    this.#bound.delete(key);
    if (device !== undefined) this.removeMock(device);
  }

  addPasid(mock: number, pasid: number): void {
    this.#mocks.get(mock)?.pasids.add(pasid);
  }

  removePasid(mock: number, pasid: number): void {
    this.#mocks.get(mock)?.pasids.delete(pasid);
  }

  pasidsOf(mock: number): readonly number[] {
    return [...(this.#mocks.get(mock)?.pasids ?? [])];
  }

  setIoasBehind(hwpt: number, ioas: number): void {
    this.#ioasBehind.set(hwpt, ioas);
  }

  ioasBehind(hwpt: number): number {
    return this.#ioasBehind.get(hwpt) ?? 0;
  }

  areas(ioas: number): readonly KnownArea[] {
    return this.#areas.get(ioas) ?? [];
  }

  addArea(ioas: number, area: KnownArea): void {
    this.#areas.get(ioas)?.push(area);
  }

  removeAreas(ioas: number, iova: bigint, length: bigint): void {
    const areas = this.#areas.get(ioas);
    if (areas === undefined) return;
    const kept = areas.filter((area) => {
      return area.iova < iova || area.iova + area.length > iova + length;
    });
    this.#areas.set(ioas, kept);
  }
}

/** One of a list for any number. */
export function at<T>(list: readonly T[], index: number): T | undefined {
  return list.length === 0 ? undefined : list[index % list.length];
}
