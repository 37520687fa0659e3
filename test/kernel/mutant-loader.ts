// Hooks of the module loader: the file of the mutant is loaded changed.
import { type Mutant, mutated } from './mutants.js';

let mutant: Mutant;

export function initialize(data: Mutant): void {
  mutant = data;
}

interface Loaded {
  readonly format: string;
  readonly source?: string | ArrayBuffer | Uint8Array | undefined;
}

type NextLoad = (url: string, context: object) => Promise<Loaded>;

export async function load(url: string, context: object, next: NextLoad): Promise<Loaded> {
  const loaded = await next(url, context);
  if (!url.endsWith(`/src/iommu/soft/${mutant.file}`)) return loaded;
  const text = Buffer.from(loaded.source as Uint8Array).toString();
  return { ...loaded, source: mutated(text, mutant) };
}
