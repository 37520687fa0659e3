// Whether a function can be given to vfio-pci, and back: decisions alone.
import { type ErrorCode, LessorError } from '../../base/errors.js';
import { heldByHost, isVfio } from './group-members.js';
import { holderText, type NodeHolder } from './node-holders.js';
import type { FunctionFacts } from './sysfs-function.js';

/** What speaks against it. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly hint?: string;
}

export interface BindSituation {
  /** By `hostUses`. */
  readonly uses: readonly string[];
  /** Addresses that are asked for together. */
  readonly together: readonly string[];
  /** Why sysfs takes no writes from this process. */
  readonly unwritable?: 'denied' | 'read-only';
  readonly hasVfioPci: boolean;
  /** Do it although the host uses it. */
  readonly force: boolean;
}

/** That a message names; a group can have a whole bus in it. */
const namedMax = 8;

/** A function that a VFIO driver has needs nothing done. */
export function isBound({ driver }: FunctionFacts): boolean {
  return driver !== undefined && isVfio(driver);
}

/** The first thing that speaks against giving a function to vfio-pci; undefined: nothing. */
export function refuseBind(facts: FunctionFacts, situation: BindSituation): Refusal | undefined {
  const { address } = facts;
  const { force, uses } = situation;
  if (facts.group === undefined) {
    return {
      code: 'UNSUPPORTED',
      detail: `no IOMMU is in front of ${address}`,
      hint: 'switch the IOMMU on: in the firmware, and with intel_iommu=on where the kernel asks',
    };
  }
  const group = refuseGroup(facts, situation.together);
  if (group !== undefined || isBound(facts)) return group;
  const access = refuseAccess(situation.unwritable);
  if (access !== undefined) return access;
  if (!situation.hasVfioPci) {
    const detail = 'the kernel has no driver vfio-pci loaded';
    return { code: 'UNSUPPORTED', detail, hint: 'modprobe vfio-pci' };
  }
  if (facts.virtualFunctionCount > 0) {
    return {
      code: 'FUNCTION_BUSY',
      detail: `${address} has ${facts.virtualFunctionCount} virtual functions`,
      hint: `take them away first: echo 0 > /sys/bus/pci/devices/${address}/sriov_numvfs`,
    };
  }
  const reasons = [...(facts.isBridge ? ['it is a bridge'] : []), ...uses];
  if (force || reasons.length === 0) return undefined;
  return {
    code: 'FUNCTION_BUSY',
    detail: `the host uses ${address} (${facts.driver ?? 'no driver'}): ${reasons.join('; ')}`,
    hint: 'end that use first; --force takes it away all the same',
  };
}

function refuseGroup(facts: FunctionFacts, together: readonly string[]): Refusal | undefined {
  const { address, group } = facts;
  if (group === undefined) return undefined;
  const others = heldByHost(group).filter((one) => !together.includes(one.address));
  if (others.length === 0) return undefined;
  const names = others.slice(0, namedMax).map((one) => `${one.address} (${one.driver})`);
  const rest = others.length > namedMax ? ` and ${others.length - namedMax} more` : '';
  const all = [...new Set([...together, ...others.map((one) => one.address)])];
  return {
    code: 'GROUP_NOT_VIABLE',
    detail:
      `the IOMMU cannot tell ${address} from others of group ${group.number} ` +
      `that the host uses: ${names.join(', ')}${rest}`,
    hint: `give all of them away together: lessor bind ${all.slice(0, namedMax).join(' ')}`,
  };
}

/** Why sysfs takes no write, as a refusal. */
export function refuseAccess(unwritable: BindSituation['unwritable']): Refusal | undefined {
  if (unwritable === undefined) return undefined;
  if (unwritable === 'denied') {
    return { code: 'DENIED', detail: 'only root may bind functions', hint: 'run it as root' };
  }
  const hint = 'run it outside of the container, or with a sysfs that can be written to';
  return { code: 'DENIED', detail: 'sysfs is read-only here', hint };
}

/** What speaks against taking a function from its VFIO driver. */
export function refuseUnbind(
  facts: FunctionFacts,
  situation: Pick<BindSituation, 'unwritable' | 'force'> & {
    readonly holders: readonly NodeHolder[];
  },
): Refusal | undefined {
  const access = refuseAccess(situation.unwritable);
  if (access !== undefined) return access;
  const { holders, force } = situation;
  if (holders.length === 0 || force) return undefined;
  return {
    code: 'FUNCTION_BUSY',
    detail: `${facts.address} is open in ${holderText(holders)}`,
    hint: 'end that process first; --force has the kernel ask it to let go, and waits',
  };
}

export function refusalError({ code, detail, hint }: Refusal): LessorError {
  return new LessorError(code, detail, hint === undefined ? {} : { hint });
}
