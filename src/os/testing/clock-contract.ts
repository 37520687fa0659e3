// What every Clock does, real or fake. Run by the tests of both.
import { describe, expect, it } from 'vitest';
import type { Clock } from '../../base/clock.js';

/** @param pass - Lets at least that much time pass. */
export function clockContract(
  name: string,
  clock: Clock,
  pass: (durationMs: number) => Promise<void>,
): void {
  describe(`clock: ${name}`, () => {
    it('moves forward, in both of its faces', async () => {
      const [nowMs, wallMs] = [clock.nowMs(), clock.wallMs()];
      await pass(20);
      expect(clock.nowMs() - nowMs).toBeGreaterThanOrEqual(20);
      expect(clock.wallMs() - wallMs).toBeGreaterThanOrEqual(18);
      expect(wallMs).toBeGreaterThan(1_600_000_000_000);
    });

    it('calls back once, in order of time, never early', async () => {
      const startMs = clock.nowMs();
      const seen: [string, number][] = [];
      const note = (what: string): (() => void) => {
        return () => seen.push([what, clock.nowMs() - startMs]);
      };
      clock.after(15, note('late'));
      clock.after(5.5, note('early'));
      clock.after(0, note('now'));
      expect(seen).toEqual([]);
      await pass(40);
      expect(seen.map(([what]) => what)).toEqual(['now', 'early', 'late']);
      expect(seen[1]?.[1]).toBeGreaterThanOrEqual(5.5);
      expect(seen[2]?.[1]).toBeGreaterThanOrEqual(15);
    });

    it('is never early by a fraction', async () => {
      let earlyCount = 0;
      let calls = 0;
      for (let index = 0; index < 60; index++) {
        const dueMs = clock.nowMs() + 1 + index * 0.37;
        clock.after(1 + index * 0.37, () => {
          calls++;
          if (clock.nowMs() < dueMs) earlyCount++;
        });
      }
      await pass(60);
      expect(calls).toBe(60);
      expect(earlyCount).toBe(0);
    });

    it('does not call back what was cancelled, in a callback too', async () => {
      let calls = 0;
      const cancelled = clock.after(5, () => calls++);
      const later = clock.after(10, () => calls++);
      clock.after(5, () => later[Symbol.dispose]());
      cancelled[Symbol.dispose]();
      cancelled[Symbol.dispose]();
      await pass(30);
      expect(calls).toBe(0);
    });

    it('does not call back a far future at once', async () => {
      let calls = 0;
      const year = clock.after(365 * 24 * 3600 * 1000, () => calls++);
      await pass(10);
      expect(calls).toBe(0);
      year[Symbol.dispose]();
    });
  });
}
