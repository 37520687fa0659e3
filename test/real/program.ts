// Programs that check something of their own in the guest, as cases.
import { Bench } from '../support/lessor.js';
import { rootPath } from '../tools/root.js';
import { type KernelFlavour, kernelFlavours } from '../vm/kernel-recipe.js';
import { type RealCase, Skipped } from './case.js';
import { check, checkEqual } from './check.js';
import type { GroupStage } from './group.js';

/** What a program says last when the kernel it is on lacks what it tries, and why. */
const impossible = /^impossible on this kernel: (.*)$/;
const stdoutTail = 6000;
const stderrTail = 4000;

/** What is kept of a program that did what it should. */
export interface ProgramResult {
  /** isolation/revocation of the leases there were. */
  readonly labels: readonly string[];
  readonly remark: string;
}

export interface Program {
  readonly name: string;
  /** Words after node's own name, from the checkout. */
  words(flavour: KernelFlavour): readonly string[];
  /** Kernels on which it may not say that it is impossible. Default: all. */
  readonly possibleOn?: readonly KernelFlavour[];
  readonly env?: (flavour: KernelFlavour) => Readonly<Record<string, string>>;
  /** Default: `caseMsMax`. */
  readonly msMax?: number;
  /** More that must hold of what it said. Default: its last line is the remark. */
  readonly judge?: (stdout: string, flavour: KernelFlavour) => ProgramResult;
}

function lastLineOf(stdout: string): ProgramResult {
  return { labels: [], remark: stdout.trimEnd().split('\n').at(-1) ?? '' };
}

export class ProgramStage implements GroupStage {
  readonly #flavour: KernelFlavour;
  readonly #bench = new Bench();
  #result: ProgramResult = { labels: [], remark: '' };

  constructor(flavour: KernelFlavour) {
    this.#flavour = flavour;
  }

  /** @throws Error with what it said, unless all of it held. */
  async runProgram(program: Program): Promise<void> {
    const { words, env, possibleOn = kernelFlavours, judge = lastLineOf } = program;
    const finished = await this.#bench.run(words(this.#flavour), {
      program: [process.execPath],
      cwd: rootPath('.'),
      env: env?.(this.#flavour) ?? {},
    });
    const { status, stdout, stderr } = finished;
    const said = `${stdout.slice(-stdoutTail)}\n${stderr.slice(-stderrTail)}`;
    checkEqual(status, 0, `status, after ${said}`);
    const [, reason] = impossible.exec(lastLineOf(stdout).remark) ?? [];
    if (reason !== undefined) {
      check(!possibleOn.includes(this.#flavour), `it is possible here, whatever it says: ${said}`);
      throw new Skipped(reason);
    }
    this.#result = judge(stdout, this.#flavour);
  }

  takeLabels(): readonly string[] {
    const { labels } = this.#result;
    this.#result = { ...this.#result, labels: [] };
    return labels;
  }

  takeRemark(): string {
    const { remark } = this.#result;
    this.#result = { ...this.#result, remark: '' };
    return remark;
  }

  begin(): void {}

  async settle(): Promise<void> {}

  [Symbol.asyncDispose](): Promise<void> {
    return this.#bench.clear();
  }
}

export function programCase(program: Program): RealCase<ProgramStage> {
  const { name, msMax } = program;
  return {
    name,
    ...(msMax === undefined ? {} : { msMax }),
    run: (stage) => stage.runProgram(program),
  };
}
