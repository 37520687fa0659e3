// Keeps the house in order. A complaint names the file and line.
import { expect, test } from 'vitest';
import { deadLinks, titles } from './tidy/documents.js';
import { unprovoked } from './tidy/provoked.js';
import * as rules from './tidy/rules.js';
import { filesBelow, filesInRoot, typeScriptFiles } from './tidy/source-tree.js';

const typeScript = typeScriptFiles();
const native = filesBelow(['native', 'bench'], ['.c', '.h']);
const scripts = [...filesBelow(['bin', 'examples'], ['.js', '.mjs']), ...filesInRoot(['.mjs'])];
const markdown = [...filesInRoot(['.md']), ...filesBelow(['docs', 'bench', 'examples'], ['.md'])];

test('there is something to look at', () => {
  expect(typeScript.length).toBeGreaterThan(100);
  expect(native.length).toBeGreaterThan(5);
  expect(markdown.length).toBeGreaterThan(5);
});

test.each([
  ['rooms import only rooms above them', () => rules.importDirections(typeScript)],
  ['no package is needed at run time', () => rules.packageImports(typeScript)],
  ['only src/os loads the addon', () => rules.addonLoads(typeScript)],
  ['time, chance and errors come from where they should', () => rules.bannedUses(typeScript)],
  ['functions are short', () => rules.longFunctions(typeScript)],
  ['files are short', () => rules.longFiles([...typeScript, ...native, ...scripts])],
  ['lines are short', () => rules.longLines([...typeScript, ...native, ...scripts])],
  ['nothing is left to do', () => rules.leftovers([...typeScript, ...native, ...markdown])],
  ['files say what lives in them', () => rules.headers(typeScript)],
  ['files are named in kebab-case', () => rules.fileNames([...typeScript, ...native])],
  ['pages have titles', () => titles(markdown)],
  ['links lead somewhere', () => deadLinks(markdown)],
])('%s', (_, complaints) => {
  expect(complaints()).toEqual([]);
});

test('every error code is provoked by a test', () => {
  expect(unprovoked(typeScript)).toEqual([]);
});
