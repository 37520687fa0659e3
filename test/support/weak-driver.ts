// The mqdma driver with a hole: the holder of its last queue reaches the control registers, by
// message. What lessor promises cannot hold then, and the attacks have to notice.
import { mqdma } from '../../src/device/mqdma/datasheet.js';
import { mqdmaDriver } from '../../src/driver/mqdma/driver.js';
import type { MqdmaDriverOptions } from '../../src/driver/mqdma/options.js';
import { defineDriver, type Slice } from '../../src/driver/types.js';

function withControlWindow(slice: Slice): Slice {
  return {
    name: slice.name,
    kind: slice.kind,
    vectors: slice.vectors,
    windows: [
      ...slice.windows,
      {
        name: 'control',
        region: mqdma.controlRegion,
        offsetBytes: mqdma.queueRegistersOffsetBytes,
        lengthBytes: 4096,
        access: 'read-write',
        mappable: false,
      },
    ],
    grant: (terms) => slice.grant(terms),
    quiesce: (signal) => slice.quiesce(signal),
    reset: (signal) => slice.reset(signal),
    ungrant: () => slice.ungrant(),
    permitDma: async (permitted) => slice.permitDma?.(permitted),
    kick: () => slice.kick?.(),
  };
}

export const weakDriver = defineDriver<MqdmaDriverOptions>({
  name: 'weak',
  options: mqdmaDriver.options,
  match: (info) => mqdmaDriver.match(info),
  async start(fn, host, options) {
    const running = await mqdmaDriver.start(fn, host, options);
    return {
      slices: running.slices.map((slice, index) =>
        index === running.slices.length - 1 ? withControlWindow(slice) : slice,
      ),
      isolation: running.isolation,
      restart: () => running.restart(),
      stop: () => running.stop(),
    };
  },
});
