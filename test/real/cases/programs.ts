// Programs that check something of their own in the guest: a case each. A program ends with status
// 0 when all of it held, and its last line says what that was.

import { Bench } from '../../support/lessor.js';
import { rootPath } from '../../tools/root.js';
import type { KernelFlavour } from '../../vm/kernel-recipe.js';
import type { RealCase } from '../case.js';
import { checkEqual } from '../check.js';
import { caseGroup, type GroupStage } from '../group.js';

interface Program {
  readonly name: string;
  readonly kernels?: readonly KernelFlavour[];
  /** Words after node's own name, from the checkout. */
  readonly words: readonly string[];
}

export const programs: readonly Program[] = [
  {
    name: 'the rules of dma-bufs, by raw calls',
    words: ['dist/test/kernel/dma-buf/main.js'],
  },
  {
    name: 'the demo, on an mqdma behind VFIO',
    words: ['bin/lessor.js', 'demo', '--function', '0000:01:00.0', '--json'],
  },
];

class ProgramStage implements GroupStage {
  readonly #bench = new Bench();
  #remark = '';

  async runProgram({ words }: Program): Promise<void> {
    const program = [process.execPath];
    const finished = await this.#bench.run(words, { program, cwd: rootPath('.') });
    const { status, stdout, stderr } = finished;
    checkEqual(status, 0, `status, after ${stdout.slice(-2000)}\n${stderr.slice(-4000)}`);
    this.#remark = stdout.trimEnd().split('\n').at(-1) ?? '';
  }

  takeLabels(): readonly string[] {
    return [];
  }

  takeRemark(): string {
    const remark = this.#remark;
    this.#remark = '';
    return remark;
  }

  begin(): void {}

  async settle(): Promise<void> {}

  [Symbol.asyncDispose](): Promise<void> {
    return this.#bench.clear();
  }
}

function caseOf(program: Program): RealCase<ProgramStage> {
  const { name, kernels } = program;
  return {
    name,
    ...(kernels === undefined ? {} : { kernels }),
    run: (stage) => stage.runProgram(program),
  };
}

export const programGroup = caseGroup(
  'programs',
  async () => new ProgramStage(),
  programs.map(caseOf),
);
