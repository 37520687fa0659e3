// What a check says, and what all of them say together.

export type Verdict = 'ok' | 'warn' | 'fail';

export interface Check {
  /** One word or two, the same in every version. */
  readonly id: string;
  /** `warn`: lessor works, with less. `fail`: it does not. */
  readonly verdict: Verdict;
  /** What was found, as a clause. */
  readonly found: string;
  /** What was found, for programs. */
  readonly value: string | number | boolean | null;
  /** What to do about it, or what else can be done; may have several lines. */
  readonly remedy: string | undefined;
}

export interface FunctionChecks {
  /** As in sysfs. */
  readonly address: string;
  readonly checks: readonly Check[];
}

export interface DoctorReport {
  /** Nothing failed. */
  readonly ok: boolean;
  readonly machine: readonly Check[];
  /** Each function that a VFIO driver has, or those asked for. */
  readonly functions: readonly FunctionChecks[];
}

type Found = Pick<Check, 'found' | 'value'> & Partial<Pick<Check, 'remedy'>>;

function check(id: string, verdict: Verdict, { found, value, remedy }: Found): Check {
  return { id, verdict, found, value, remedy };
}

export const ok = (id: string, found: Found): Check => check(id, 'ok', found);
export const warn = (id: string, found: Found): Check => check(id, 'warn', found);
export const fail = (id: string, found: Found): Check => check(id, 'fail', found);

/** All checks as one report. */
export function reportOf(
  machine: readonly Check[],
  functions: readonly FunctionChecks[],
): DoctorReport {
  const all = [...machine, ...functions.flatMap(({ checks }) => checks)];
  return { ok: all.every(({ verdict }) => verdict !== 'fail'), machine, functions };
}
