// What a case is, how it is told of, and which kernels it is for.
import type { KernelFlavour } from '../vm/kernel-recipe.js';
import type { ServedMqdma } from '../vm/served-mqdma.js';

export type Outcome = 'passed' | 'failed' | 'skipped';

/** What the guest tells of a case: a line of JSON. */
export interface CaseReport {
  readonly name: string;
  readonly outcome: Outcome;
  readonly tookMs: number;
  /** isolation/revocation of every lease it took, once each. */
  readonly labels: readonly string[];
  /** Why it failed or was skipped, or what a program said last. */
  readonly detail: string;
}

export interface RealCase<Stage> {
  readonly name: string;
  /** Default: every kernel. */
  readonly kernels?: readonly KernelFlavour[];
  /** When it hangs. Default: `caseMsMax`. */
  readonly msMax?: number;
  run(stage: Stage): Promise<void>;
}

/** Cases that share a guest: one boot for each kernel. */
export interface CaseGroup {
  readonly name: string;
  /** On the host: serves what the guest has instead of an mqdma. */
  readonly serveDevice?: () => Promise<ServedMqdma>;
  /** Names of its cases for a kernel, the group's name first. */
  names(flavour: KernelFlavour): readonly string[];
  /** In the guest: runs those that are chosen, and reports each. */
  run(
    flavour: KernelFlavour,
    isChosen: (name: string) => boolean,
    report: (report: CaseReport) => void,
  ): Promise<void>;
}

/** Thrown by a case that cannot be shown here. */
export class Skipped extends Error {}

/** Emulated CPUs are slow: only a hang is over it. */
export const caseMsMax = 300_000;
