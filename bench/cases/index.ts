// Every case, cheap ones first.
import type { BenchCase } from '../case.js';

export const cases: readonly BenchCase[] = [];
