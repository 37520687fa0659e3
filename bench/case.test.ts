import { describe, expect, it } from 'vitest';
import {
  type BenchCase,
  type BenchContext,
  describeTarget,
  type Figure,
  judge,
  runCase,
  selectCases,
} from './case.js';
import { type FloorTools, parseCpuList } from './floor.js';
import { interleave, sampleBatches } from './interleave.js';
import { parseOptions } from './options.js';
import { formatJson, formatMisses, formatRecord, formatTable } from './report.js';
import { percentile, summarize } from './statistics.js';

const context: BenchContext = { floors: undefined as unknown as FloorTools, say: () => {} };

function fixed(name: string, figures: readonly Figure[], rows?: readonly string[]): BenchCase {
  return {
    name,
    rows: rows ?? figures.map((figure) => figure.name),
    run: async () => figures,
  };
}

describe('statistics', () => {
  it('takes nearest-rank percentiles', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
    expect(percentile(hundred, 0.5)).toBe(50);
    expect(percentile(hundred, 0.99)).toBe(99);
    expect(percentile(hundred, 1)).toBe(100);
    expect(percentile([7], 0.5)).toBe(7);
    expect(() => percentile([], 0.5)).toThrow('no samples');
  });

  it('sorts by value and leaves its input alone', () => {
    const samples = [10, 9, 100, 1];
    expect(summarize(samples)).toEqual({ count: 4, p50: 9, p99: 100, max: 100 });
    expect(samples).toEqual([10, 9, 100, 1]);
  });

  it('takes turns after a warm-up', async () => {
    const order: string[] = [];
    const source = (name: string, value: number) => () => {
      order.push(name);
      return [value];
    };
    const [a, b] = await interleave(2, [source('a', 1), source('b', 2)]);
    expect(order.join('')).toBe('ababab');
    expect([a?.p50, a?.count, b?.p50]).toEqual([1, 2, 2]);
  });

  it('reports time per operation', () => {
    const untilMs = (spanMs: number) => {
      const endMs = performance.now() + spanMs;
      while (performance.now() < endMs);
    };
    const [sample] = sampleBatches(1, 1000, () => untilMs(2));
    expect(sample).toBeGreaterThanOrEqual(2000);
    expect(sample).toBeLessThan(200_000);
  });
});

describe('judging', () => {
  const figure: Figure = { name: 'a', value: 2, unit: 'ns', floor: 1 };

  it('meets a limit exactly and misses one past it', () => {
    expect(judge({ ...figure, target: { ratioMax: 2 } }).row.ok).toBe(true);
    expect(judge({ ...figure, target: { ratioMax: 1.999 } }).row.ok).toBe(false);
    expect(judge({ ...figure, target: { valueMax: 2 } }).row.ok).toBe(true);
    expect(judge({ ...figure, target: { valueMax: 1.999 } }).row.ok).toBe(false);
    expect(judge({ ...figure, target: { valueMax: 3, ratioMax: 1 } }).row.ok).toBe(false);
    expect(judge(figure).row.ok).toBe(true);
  });

  it('misses a ratio without a floor, and a value that is no number', () => {
    expect(judge({ name: 'a', value: 2, unit: 'ns', target: { ratioMax: 9 } }).row.ok).toBe(false);
    expect(judge({ ...figure, value: Number.NaN }).row.ok).toBe(false);
  });

  it('names its target', () => {
    expect(describeTarget({ ratioMax: 2, valueMax: 1 }, 'ns')).toBe('2 x, 1 ns');
    expect(describeTarget(undefined, 'ns')).toBe(null);
  });
});

describe('selection', () => {
  const cases = [
    fixed('one', [
      { name: 'a/x', value: 1, unit: 'ns' },
      { name: 'a/y', value: 2, unit: 'ns' },
    ]),
    fixed('two', [{ name: 'b/x', value: 3, unit: 'ns' }]),
  ];

  it('filters by row name', async () => {
    expect(selectCases(cases, /^a/).map(({ name }) => name)).toEqual(['one']);
    expect(selectCases(cases, undefined)).toHaveLength(2);
    expect(selectCases(cases, /nothing/)).toHaveLength(0);
    const results = await runCase(cases[0]!, /y$/, context);
    expect(results.map(({ row }) => row.name)).toEqual(['a/y']);
  });

  it('reports every row of a case that threw or kept one back', async () => {
    const broken: BenchCase = {
      name: 'broken',
      rows: ['c/x', 'c/y'],
      run: () => Promise.reject(new RangeError('no luck')),
    };
    const results = await runCase(broken, undefined, context);
    expect(results.map(({ row, failure }) => [row.name, row.ok, failure])).toEqual([
      ['c/x', false, 'no luck'],
      ['c/y', false, 'no luck'],
    ]);
    const silent = await runCase(fixed('silent', [], ['d']), undefined, context);
    expect(silent[0]?.failure).toContain('did not yield');
  });

  it('reads its command line', () => {
    expect(parseOptions([])).toEqual({ json: false, list: false, filter: undefined });
    expect(parseOptions(['--json', '^a'])).toEqual({ json: true, list: false, filter: /^a/ });
    expect(parseOptions(['--what'])).toContain('--what');
    expect(parseOptions(['a', 'b'])).toContain('more than one');
    expect(typeof parseOptions(['('])).toBe('string');
  });
});

describe('report', () => {
  const results = [
    judge({ name: 'a', value: 0.371234, unit: 'ns', floor: 0.25, target: { ratioMax: 2 } }),
    judge({ name: 'b', value: 3, unit: 'us', floor: 1, target: { ratioMax: 2 }, note: 'why' }),
    judge({ name: 'c', value: 12_345.6, unit: 'us' }),
  ];

  it('prints rows of the published shape as JSON', () => {
    expect(JSON.parse(formatJson(results))).toEqual([
      { name: 'a', value: 0.3712, unit: 'ns', floor: 0.25, ratio: 1.485, target: '2 x', ok: true },
      { name: 'b', value: 3, unit: 'us', floor: 1, ratio: 3, target: '2 x', ok: false },
      { name: 'c', value: 12350, unit: 'us', floor: null, ratio: null, target: null, ok: true },
    ]);
    expect(JSON.parse(formatJson([]))).toEqual([]);
  });

  it('keeps where it was measured with the results', () => {
    const machine = { cpu: 'x', cpus: 2, kernel: '6.5', node: '20', commit: 'abc', load: 0 };
    const record = JSON.parse(formatRecord(results, machine));
    expect(record.machine).toEqual(machine);
    expect(record.results).toHaveLength(3);
  });

  it('marks misses in the table and names them', () => {
    const lines = formatTable(results).split('\n');
    expect(lines[1]).toMatch(/^a +0\.3712 +ns +0\.25 +1\.49 +2 x +ok$/);
    expect(lines[2]).toMatch(/MISSED +why$/);
    expect(formatMisses(results)).toEqual(['missed: b is 3 us, 3 x its floor; at most 2 x']);
  });
});

describe('CPU lists', () => {
  it('reads the kernel format', () => {
    expect(parseCpuList('0')).toEqual([0]);
    expect(parseCpuList('0-2,5,7-8\n')).toEqual([0, 1, 2, 5, 7, 8]);
  });
});
