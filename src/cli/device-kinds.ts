// The devices that `lessor device serve` knows, and which options are whose.
import { LessorError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import {
  CounterDevice,
  createEdu,
  type DeviceConfig,
  MqdmaDevice,
  type PciDevice,
} from '../device/index.js';

/** Options of `device serve` that belong to one device. */
export interface DeviceOptions {
  readonly queues?: number;
  readonly dmaBits?: number;
  readonly dmaDelay?: number;
  readonly faultInjection?: boolean;
}

interface DeviceKind {
  readonly description: string;
  readonly options: readonly (keyof DeviceOptions)[];
  create(options: DeviceOptions, log: Logger): PciDevice;
}

const optionNames: Readonly<Record<keyof DeviceOptions, string>> = {
  queues: '--queues',
  dmaBits: '--dma-bits',
  dmaDelay: '--dma-delay',
  faultInjection: '--fault-injection',
};

export const deviceKinds: Readonly<Record<string, DeviceKind>> = {
  counter: {
    description: 'a millisecond counter that interrupts at a value, with a page to map',
    options: [],
    create: () => new CounterDevice(),
  },
  edu: {
    description: "QEMU's educational device: factorial, interrupts, a DMA engine",
    options: ['dmaBits', 'dmaDelay'],
    create: ({ dmaBits, dmaDelay }, log) =>
      createEdu({
        log,
        ...(dmaBits === undefined ? {} : { dmaBits }),
        ...(dmaDelay === undefined ? {} : { dmaDelayMs: dmaDelay }),
      }),
  },
  mqdma: {
    description: 'the multi-queue DMA engine that lessor leases',
    options: ['queues', 'faultInjection'],
    create: ({ queues, faultInjection = false }) =>
      new MqdmaDevice({
        // vfio-user carries no PASIDs.
        pasidBits: 0,
        faultInjection,
        ...(queues === undefined ? {} : { queueCount: queues }),
      }),
  },
};

/**
 * A device by its name.
 *
 * @throws LessorError `INVALID_ARGUMENT` for an unknown name, an option of another device, or a
 *   value out of range.
 */
export function createDevice(name: string, options: DeviceOptions, log: Logger): PciDevice {
  const kind = Object.hasOwn(deviceKinds, name) ? deviceKinds[name] : undefined;
  if (kind === undefined) {
    const names = Object.keys(deviceKinds).join(', ');
    throw new LessorError('INVALID_ARGUMENT', `no device "${name}"`, { hint: `there is ${names}` });
  }
  for (const option of Object.keys(optionNames) as (keyof DeviceOptions)[]) {
    if (options[option] === undefined || kind.options.includes(option)) continue;
    throw new LessorError('INVALID_ARGUMENT', `${name} takes no ${optionNames[option]}`);
  }
  return kind.create(options, log);
}

/** "1234:11e8", as lspci shows it. */
export function pciId({ vendorId, deviceId }: DeviceConfig): string {
  const digits = (id: number): string => id.toString(16).padStart(4, '0');
  return `${digits(vendorId)}:${digits(deviceId)}`;
}
