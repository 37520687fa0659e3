import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { kernelKey } from './kernel-recipe.js';
import { type KernelOrder, type KernelSteps, obtainKernel } from './kernel-steps.js';

const stock = { config: 'CONFIG_A=y\n', patches: [] };
const patched = { ...stock, patches: [{ name: '1.patch', text: 'one' }] };

interface Tree {
  readonly path: string;
  isPatched: boolean;
}

/** Steps that write down what they did; what they make is told apart by its content. */
class RecordedSteps implements KernelSteps<Tree> {
  readonly done: string[] = [];
  fails: string | undefined;

  async prepare(folder: string): Promise<Tree> {
    this.#note('prepare');
    expect(readdirSync(folder)).toEqual([]);
    const path = join(folder, 'work');
    mkdirSync(path);
    return { path, isPatched: false };
  }

  async patch(tree: Tree): Promise<void> {
    this.#note('patch');
    expect(tree.isPatched).toBe(false);
    tree.isPatched = true;
  }

  async make(tree: Tree, folder: string): Promise<void> {
    this.#note('make');
    writeFileSync(join(folder, 'bzImage'), tree.isPatched ? 'patched' : 'stock');
  }

  discard({ path }: Tree): void {
    this.#note('discard');
    rmSync(path, { recursive: true });
  }

  #note(step: string): void {
    if (step === this.fails) throw new Error(`no ${step}`);
    this.done.push(step);
  }
}

let root: string;
let said: string[];
let order: KernelOrder;
let steps: RecordedSteps;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lessor-kernels-'));
  said = [];
  steps = new RecordedSteps();
  const say = (text: string): void => void said.push(text);
  order = { root, recipes: { stock, patched }, say, waitMs: 1000 };
});
afterEach(() => rmSync(root, { recursive: true }));

function kernels(): Record<string, string> {
  const found = [
    ['stock', stock],
    ['patched', patched],
  ] as const;
  return Object.fromEntries(
    found
      .map(([name, recipe]) => [name, join(root, kernelKey(recipe), 'bzImage')] as const)
      .filter(([, path]) => existsSync(path))
      .map(([name, path]) => [name, readFileSync(path, 'utf8')]),
  );
}

test.each(['stock', 'patched'] as const)(
  'one tree gives both when %s is wanted',
  async (flavour) => {
    const folder = await obtainKernel(flavour, order, steps);
    expect(readFileSync(join(folder, 'bzImage'), 'utf8')).toBe(flavour);
    expect(kernels()).toEqual({ stock: 'stock', patched: 'patched' });
    expect(steps.done).toEqual(['prepare', 'make', 'patch', 'make', 'discard']);
    expect(readdirSync(root)).toHaveLength(2);
    for (const name of readdirSync(root))
      expect(readdirSync(join(root, name))).toEqual(['bzImage']);
    steps.done.length = 0;
    await obtainKernel('stock', order, steps);
    await obtainKernel('patched', order, steps);
    expect(steps.done).toEqual([]);
  },
);

test('a patched kernel beside an older stock one has a tree of its own', async () => {
  mkdirSync(join(root, kernelKey(stock)));
  await obtainKernel('patched', order, steps);
  expect(steps.done).toEqual(['prepare', 'patch', 'make', 'discard']);
  expect(kernels()).toEqual({ patched: 'patched' });
});

test('a stock kernel beside a patched one leaves that alone', async () => {
  mkdirSync(join(root, kernelKey(patched)));
  writeFileSync(join(root, kernelKey(patched), 'bzImage'), 'of another day');
  await obtainKernel('stock', order, steps);
  expect(steps.done).toEqual(['prepare', 'make', 'discard']);
  expect(kernels()).toEqual({ stock: 'stock', patched: 'of another day' });
});

test('patches that do not apply cost only who wants them', async () => {
  steps.fails = 'patch';
  await obtainKernel('stock', order, steps);
  expect(kernels()).toEqual({ stock: 'stock' });
  expect(said).toEqual(['there is no patched kernel: no patch']);
  await expect(obtainKernel('patched', order, steps)).rejects.toThrow('no patch');
  expect(kernels()).toEqual({ stock: 'stock' });
});

test('nothing stays of a stock kernel that fails', async () => {
  steps.fails = 'make';
  await expect(obtainKernel('patched', order, steps)).rejects.toThrow('no make');
  expect(readdirSync(root)).toEqual([]);
});

test('two runs at once make one tree', async () => {
  const both = [obtainKernel('stock', order, steps), obtainKernel('patched', order, steps)];
  await Promise.all(both);
  expect(steps.done).toEqual(['prepare', 'make', 'patch', 'make', 'discard']);
});
