import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { rootPath } from '../tools/root.js';
import { kernelKey, kernelRecipe, unmetSettings } from './kernel-recipe.js';

const config = 'CONFIG_A=y\n';
const patch = { name: '1.patch', text: 'one' };

test('every part of the recipe is in the name', () => {
  const recipes = [
    { config, patches: [] },
    { config: `${config}CONFIG_B=y\n`, patches: [] },
    { config, patches: [patch] },
    { config, patches: [{ ...patch, text: 'two' }] },
    { config, patches: [{ ...patch, name: '2.patch' }] },
    { config, patches: [patch, { name: '2.patch', text: 'two' }] },
    {
      config,
      patches: [
        { name: '1.patch', text: 'one2.patch' },
        { name: '', text: 'two' },
      ],
    },
  ];
  const keys = recipes.map(kernelKey);
  expect(new Set(keys).size).toBe(recipes.length);
  for (const key of keys) expect(key).toMatch(/^kernel-7\.3-[0-9a-f]{12}-(stock|[0-9a-f]{12})$/);
});

test('the same recipe has the same name', () => {
  expect(kernelKey(kernelRecipe('stock'))).toBe(kernelKey(kernelRecipe('stock')));
});

test('the patched kernel has patches, in the order of their numbers', () => {
  const names = kernelRecipe('patched').patches.map(({ name }) => name);
  expect(names.length).toBeGreaterThan(0);
  expect(names.map((name) => Number.parseInt(name, 10))).toEqual(
    names.map((_, index) => index + 1),
  );
  expect(kernelKey(kernelRecipe('patched'))).not.toBe(kernelKey(kernelRecipe('stock')));
});

test('settings that did not come about are named', () => {
  const fragment = '# words\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y\n';
  const finished = 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\n';
  expect(unmetSettings(fragment, finished)).toEqual(['CONFIG_B=y', 'CONFIG_C=y']);
});

test('our fragment names each setting once, in order within its group', () => {
  const text = readFileSync(rootPath('test/vm/kernel.config'), 'utf8');
  const groups = text.split('\n\n').map((group) => group.match(/^CONFIG_\w+=\S+$/gm) ?? []);
  for (const group of groups) expect(group).toEqual([...group].sort());
  const all = groups.flat();
  expect(all.length).toBeGreaterThan(90);
  expect(new Set(all).size).toBe(all.length);
  for (const line of text.split('\n')) expect(line).toMatch(/^(# .*|CONFIG_\w+=y)?$/);
});
