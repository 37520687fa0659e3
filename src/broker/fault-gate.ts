// Which reports of refused DMA are told: each fault once, and not too many. Pure.

/** Who saw it: the device, as its driver says, or the IOMMU, as the function says. */
export type FaultSource = 'driver' | 'function';

export interface FaultReport {
  readonly source: FaultSource;
  readonly iova: number;
  readonly access: 'read' | 'write';
}

export type FaultVerdict = 'tell' | 'same' | 'too many';

/** Logs of kernels name a fault by this much of its address. */
const pageBytes = 4096;
/** How far apart two may report one fault: the log of a kernel takes its time. */
const sameMs = 1000;
/** Reports that wait for the other one who may have seen it. */
const unpairedMax = 16;
const windowMs = 1000;

interface Unpaired extends FaultReport {
  readonly atMs: number;
}

/**
 * For one lease. A driver whose device records its faults and an IOMMU that reports them tell of
 * the same one twice. Two reports are one fault when one came from each, within a second, of the
 * same page and direction; the first is told. Where the two name different pages, as a device
 * that reports the start of a transfer, of which a later page was refused, both are.
 */
export class FaultGate {
  readonly #perSecondMax: number;
  readonly #unpaired: Unpaired[] = [];
  #windowStartMs = Number.NEGATIVE_INFINITY;
  #toldCount = 0;

  constructor(perSecondMax: number) {
    this.#perSecondMax = perSecondMax;
  }

  judge(report: FaultReport, nowMs: number): FaultVerdict {
    if (this.#isPaired(report, nowMs)) return 'same';
    if (nowMs - this.#windowStartMs >= windowMs) {
      this.#windowStartMs = nowMs;
      this.#toldCount = 0;
    }
    if (this.#toldCount >= this.#perSecondMax) return 'too many';
    this.#toldCount += 1;
    this.#unpaired.push({ ...report, atMs: nowMs });
    if (this.#unpaired.length > unpairedMax) this.#unpaired.shift();
    return 'tell';
  }

  /** Takes the report of the other one away: the next like it is another fault. */
  #isPaired({ source, iova, access }: FaultReport, nowMs: number): boolean {
    const page = Math.floor(iova / pageBytes);
    const at = this.#unpaired.findIndex(
      (other) =>
        other.source !== source &&
        other.access === access &&
        Math.floor(other.iova / pageBytes) === page &&
        nowMs - other.atMs <= sameMs,
    );
    if (at >= 0) this.#unpaired.splice(at, 1);
    return at >= 0;
  }
}
