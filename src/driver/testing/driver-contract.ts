// What every driver does, whatever the device. A suite for authors: give it a way to start the
// driver on a function, and say how to keep a slice busy.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PciFunction } from '../../function/types.js';
import type { RunningDriver, Slice, Terms } from '../types.js';
import { validateSlices } from '../validate.js';

export interface DriverFixture extends AsyncDisposable {
  readonly fn: PciFunction;
  readonly driver: RunningDriver;
  /**
   * Makes a granted slice refuse to become idle until `end`; absent where it cannot be provoked.
   */
  keepBusy?(slice: Slice): Promise<{ end(): Promise<void> }>;
}

/** Terms as the driver's isolation wants them, different for every number. */
export function termsFor(driver: RunningDriver, number: number, epoch = 1): Terms {
  const leaseId = `lease-${number}`;
  if (driver.isolation === 'pasid') return { leaseId, epoch, pasid: number, bounds: undefined };
  const bounds = { base: number * 2 ** 32, lengthBytes: 2 ** 24 };
  const isBound = driver.isolation === 'device-bounds';
  return { leaseId, epoch, pasid: undefined, bounds: isBound ? bounds : undefined };
}

function aborted(): AbortSignal {
  return AbortSignal.abort();
}

/** Declares the suite; `make` is called once per test and its result disposed. */
export function driverContract(name: string, make: () => Promise<DriverFixture>): void {
  describe(`driver contract: ${name}`, () => {
    let fixture: DriverFixture;
    const never = new AbortController().signal;
    const first = (): Slice => fixture.driver.slices[0]!;

    beforeEach(async () => {
      fixture = await make();
    });

    afterEach(() => fixture[Symbol.asyncDispose]());

    it('offers slices that a lease can show', () => {
      const { fn, driver } = fixture;
      expect(() => validateSlices(fn.info, driver.slices, driver.reserved)).not.toThrow();
    });

    it('keeps the same slices for life', async () => {
      const before = [...fixture.driver.slices];
      await first().grant(termsFor(fixture.driver, 1));
      await first().quiesce(never);
      await first().ungrant();
      expect(fixture.driver.slices).toEqual(before);
    });

    it('grants, quiesces and takes back, again and again', async () => {
      for (let number = 1; number <= 3; number++) {
        await first().grant(termsFor(fixture.driver, number));
        expect(await first().quiesce(never)).toBe('idle');
        await first().ungrant();
      }
    });

    it('says idle of a slice that does nothing, even when there is no time', async () => {
      await first().grant(termsFor(fixture.driver, 1));
      expect(await first().quiesce(aborted())).toBe('idle');
      expect(await first().quiesce(aborted())).toBe('idle');
    });

    it('has a reset that leaves a grant standing', async () => {
      await first().grant(termsFor(fixture.driver, 1));
      expect(await first().reset(never)).toBe('idle');
      expect(await first().quiesce(never)).toBe('idle');
      await first().ungrant();
      await first().grant(termsFor(fixture.driver, 2));
    });

    it('grants every slice at once', async () => {
      const { driver } = fixture;
      await Promise.all(driver.slices.map((slice, at) => slice.grant(termsFor(driver, at + 1))));
      const results = await Promise.all(driver.slices.map((slice) => slice.quiesce(never)));
      expect(new Set(results)).toEqual(new Set(['idle']));
      await Promise.all(driver.slices.map((slice) => slice.ungrant()));
    });

    it('never says idle of a busy slice, and keeps its isolation', async () => {
      if (fixture.keepBusy === undefined) return;
      await first().grant(termsFor(fixture.driver, 1));
      const busy = await fixture.keepBusy(first());
      expect(await first().quiesce(aborted())).toBe('busy');
      expect(await first().reset(aborted())).toBe('busy');
      await expect(first().ungrant()).rejects.toMatchObject({ code: 'DRIVER_FAILED' });
      await busy.end();
      expect(await first().quiesce(never)).toBe('idle');
      await first().ungrant();
      await first().grant(termsFor(fixture.driver, 2));
    });

    it('comes up again after a reset of the function, with nothing granted', async () => {
      const { fn, driver } = fixture;
      await first().grant(termsFor(driver, 1));
      await fn.reset(never);
      await driver.restart();
      await first().grant(termsFor(driver, 2, 2));
      expect(await first().quiesce(never)).toBe('idle');
    });

    it('takes a kick at any time', async () => {
      first().kick?.();
      await first().grant(termsFor(fixture.driver, 1));
      first().kick?.();
    });

    it('stops', async () => {
      await first().grant(termsFor(fixture.driver, 1));
      await fixture.driver.stop();
    });
  });
}
