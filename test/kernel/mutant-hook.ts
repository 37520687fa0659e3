// Loaded before the program (node --import): installs the mutant that LESSOR_MUTANT numbers.
import { register } from 'node:module';
import { mutants } from './mutants.js';

const mutant = mutants[Number(process.env.LESSOR_MUTANT)];
if (mutant === undefined) throw new Error('LESSOR_MUTANT names no mutant');
register('./mutant-loader.js', { parentURL: import.meta.url, data: mutant });
