// Gives functions to vfio-pci and back to the driver that they had.
// @see linux Documentation/ABI/testing/sysfs-bus-pci `driver_override`
import { LessorError } from '../../base/errors.js';
import type { BindingHost } from './binding-host.js';
import {
  type BindSituation,
  isBound,
  refusalError,
  refuseBind,
  refuseUnbind,
} from './binding-plan.js';
import type { BindingRecord, BindingRecords } from './binding-record.js';
import { hostUses } from './host-use.js';
import { holderText } from './node-holders.js';
import { runSteps, type Step } from './steps.js';
import {
  devicesFolder,
  type FunctionFacts,
  readFunctionFacts,
  vfioNode,
} from './sysfs-function.js';

const vfioPci = 'vfio-pci';
/** How long udev and the kernel may take to make a node. */
const nodeMsMax = 5000;
const nodePollMs = 20;

export interface BindingOptions {
  readonly host: BindingHost;
  readonly records: BindingRecords;
  /** Also what the host uses; also what a process has open. */
  readonly force?: boolean;
  /** Told of what goes on meanwhile, and of what could not be undone. */
  readonly tell?: (line: string) => void;
}

export interface BoundFunction {
  readonly address: string;
  readonly driver: string;
  readonly group: number;
  /** The file that opens it. */
  readonly node: string;
  /** False when a VFIO driver had it before. */
  readonly changed: boolean;
}

export interface UnboundFunction {
  readonly address: string;
  /** The driver that has it now, if one wanted it. */
  readonly driver: string | undefined;
  readonly changed: boolean;
}

/**
 * Gives functions to vfio-pci: all of them, or none. What they were is recorded.
 *
 * @param addresses - In sysfs's spelling. Of one group, all that the host uses go together.
 * @throws LessorError `FUNCTION_GONE`, `FUNCTION_BUSY` when the host uses one, `GROUP_NOT_VIABLE`,
 *   `UNSUPPORTED` without an IOMMU or vfio-pci, `DENIED`, `DEADLINE_EXCEEDED` when no node came;
 *   OsError of the kernel's drivers
 */
export async function bindFunctions(
  addresses: readonly string[],
  options: BindingOptions,
): Promise<BoundFunction[]> {
  const together = [...new Set(addresses)];
  const all = together.map((address) => factsOf(options, address));
  for (const facts of all) {
    const refusal = refuseBind(facts, situationOf(options, facts, together));
    if (refusal !== undefined) throw refusalError(refusal);
  }
  const changed = all.filter((facts) => !isBound(facts));
  const steps = [
    ...changed.flatMap((facts) => bindSteps(facts, options)),
    ...all.map(({ address }) => ({ run: () => untilNode(address, options) })),
  ];
  await runSteps(steps, (error) => options.tell?.(`could not be undone: ${messageOf(error)}`));
  return all.map(({ address }) => {
    const { driver = vfioPci, group, ...facts } = factsOf(options, address);
    const node = vfioNode({ driver, group, ...facts }) ?? '';
    const isChanged = changed.some((one) => one.address === address);
    return { address, driver, group: group?.number ?? -1, node, changed: isChanged };
  });
}

/**
 * Gives a function back: to the driver it had when it was bound, or to whoever wants it.
 *
 * @param address - In sysfs's spelling.
 * @throws LessorError `FUNCTION_GONE`, `FUNCTION_BUSY` naming who has it open, `DENIED`,
 *   `SYSTEM_FAILED` when that driver does not take it back; OsError
 */
export async function unbindFunction(
  address: string,
  options: BindingOptions,
): Promise<UnboundFunction> {
  const { host, records, force = false } = options;
  const facts = factsOf(options, address);
  if (!isBound(facts)) return { address, driver: facts.driver, changed: false };
  const holders = host.holders(nodesOf(facts));
  const refusal = refuseUnbind(facts, { ...accessOf(options, facts), force, holders });
  if (refusal !== undefined) throw refusalError(refusal);
  if (holders.length > 0) options.tell?.(`waiting until ${holderText(holders)} lets go`);
  await runSteps(unbindSteps(facts, records.read(address), options), (error) =>
    options.tell?.(`could not be undone: ${messageOf(error)}`),
  );
  return { address, driver: factsOf(options, address).driver, changed: true };
}

function factsOf({ host }: BindingOptions, address: string): FunctionFacts {
  const facts = readFunctionFacts(host.files, address);
  if (facts !== undefined) return facts;
  throw new LessorError('FUNCTION_GONE', `there is no function ${address}`, {
    hint: '"lspci -D" lists those there are',
  });
}

/** The function's own node, and the one of its group. */
function nodesOf({ group, vfioName }: FunctionFacts): string[] {
  return [
    ...(vfioName === undefined ? [] : [`/dev/vfio/devices/${vfioName}`]),
    ...(group === undefined ? [] : [`/dev/vfio/${group.number}`]),
  ];
}

function accessOf(
  { host }: BindingOptions,
  { address }: FunctionFacts,
): Pick<BindSituation, 'unwritable'> {
  const unwritable = host.unwritable(`${devicesFolder}/${address}/driver_override`);
  return unwritable === undefined ? {} : { unwritable };
}

function situationOf(
  options: BindingOptions,
  facts: FunctionFacts,
  together: readonly string[],
): BindSituation {
  const { files, tables } = options.host;
  return {
    ...accessOf(options, facts),
    uses: hostUses(files, tables, facts),
    together,
    hasVfioPci: files.exists(`bus/pci/drivers/${vfioPci}`),
    force: options.force ?? false,
  };
}

const overrideOf = (address: string): string => `${devicesFolder}/${address}/driver_override`;

/** An empty line takes the override away. */
const overrideText = (driver: string | undefined): string => `${driver ?? ''}\n`;

function bindSteps(facts: FunctionFacts, { host, records }: BindingOptions): Step[] {
  const { address, driver, driverOverride } = facts;
  const restore = (): Promise<void> =>
    host.write(overrideOf(address), overrideText(driverOverride));
  const isTaken = (): boolean => isBound(readFunctionFacts(host.files, address) ?? facts);
  return [
    {
      run: () => records.write(address, { driver, driverOverride }),
      undo: () => records.remove(address),
    },
    { run: () => host.write(overrideOf(address), overrideText(vfioPci)), undo: restore },
    ...(driver === undefined
      ? []
      : [
          {
            run: () => host.write(`${devicesFolder}/${address}/driver/unbind`, address),
            async undo() {
              // Until the override is what it was, the old driver may not have it.
              await restore();
              await host.write(`bus/pci/drivers/${driver}/bind`, address);
            },
          },
        ]),
    {
      run: () => host.write('bus/pci/drivers_probe', address),
      undo: async () => {
        if (isTaken()) await host.write(`bus/pci/drivers/${vfioPci}/unbind`, address);
      },
    },
    {
      run() {
        if (isTaken()) return;
        throw new LessorError('SYSTEM_FAILED', `vfio-pci did not take ${address}`, {
          hint: 'the kernel log says why: dmesg',
        });
      },
    },
  ];
}

function unbindSteps(
  facts: FunctionFacts,
  record: BindingRecord | undefined,
  { host, records }: BindingOptions,
): Step[] {
  const { address, driver = vfioPci, driverOverride } = facts;
  const before = record?.driver;
  const restore = (): Promise<void> =>
    host.write(overrideOf(address), overrideText(driverOverride));
  const wasAlone = record !== undefined && before === undefined;
  return [
    {
      run: () => host.write(overrideOf(address), overrideText(record?.driverOverride)),
      undo: restore,
    },
    {
      run: () => host.write(`bus/pci/drivers/${driver}/unbind`, address),
      async undo() {
        await restore();
        await host.write('bus/pci/drivers_probe', address);
      },
    },
    ...(wasAlone ? [] : [{ run: () => host.write('bus/pci/drivers_probe', address) }]),
    {
      run() {
        const now = readFunctionFacts(host.files, address)?.driver;
        if (before === undefined || now === before) return;
        throw new LessorError('SYSTEM_FAILED', `${before} did not take ${address} back`, {
          hint: `load it (modprobe ${before}), or see the kernel log: dmesg`,
        });
      },
    },
    { run: () => records.remove(address) },
  ];
}

/** The node comes with the driver or a moment later, from udev. */
async function untilNode(address: string, options: BindingOptions): Promise<void> {
  const { clock } = options.host;
  const untilMs = clock.nowMs() + nodeMsMax;
  for (;;) {
    const node = vfioNode(factsOf(options, address));
    if (node !== undefined && options.host.hasNode(node)) return;
    if (clock.nowMs() >= untilMs) {
      throw new LessorError('DEADLINE_EXCEEDED', `no node for ${address} in /dev/vfio`, {
        hint: 'see whether udev runs, or whether /dev is the one of the host',
      });
    }
    await new Promise<void>((resolve) => clock.after(nodePollMs, resolve));
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
