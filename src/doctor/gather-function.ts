// Facts of one function: from outside, and, when nobody has it, from holding it for a moment.
import { errnoOf, isLessorError } from '../base/errors.js';
import { heldByHost } from '../function/vfio/group-members.js';
import { nodeHolders } from '../function/vfio/node-holders.js';
import { SysfsFiles } from '../function/vfio/sysfs-files.js';
import {
  type FunctionFacts,
  functionAddresses,
  readFunctionFacts,
  vfioNode,
} from '../function/vfio/sysfs-function.js';
import { createOs } from '../os/index.js';
import type { FunctionSituation, Held, NodeFacts } from './facts.js';
import { nodeFacts, nodeStatus } from './gather-machine.js';
import { holdFunction } from './hold-function.js';

/** Addresses of the functions that a VFIO driver has. @throws LessorError `SYSTEM_FAILED` */
export function boundFunctions(files = new SysfsFiles()): string[] {
  return functionAddresses(files).filter((address) => {
    const facts = readFunctionFacts(files, address);
    return facts !== undefined && vfioNode(facts) !== undefined;
  });
}

/**
 * Looks at a function. One that a VFIO driver has and nobody else is opened, which resets it, and
 * closed again.
 *
 * @param address - In sysfs's spelling.
 */
export async function gatherFunction(
  address: string,
  files = new SysfsFiles(),
): Promise<FunctionSituation> {
  const facts = readFunctionFacts(files, address);
  const path = facts && vfioNode(facts);
  if (facts === undefined || path === undefined) {
    return { address, facts, node: undefined, holders: [], held: undefined };
  }
  const holders = nodeHolders(nodesOf(facts, path));
  const inUse = holders.length > 0;
  // To open a group's file again would be refused for that alone.
  const node = inUse ? nodeStatus(path) : nodeFacts(createOs().ioctl, path);
  return { address, facts, node, holders, held: await hold(facts, node, inUse) };
}

/** Both ways to it: who came by the other one has it as well. */
function nodesOf({ group }: FunctionFacts, path: string): string[] {
  return group === undefined ? [path] : [path, `/dev/vfio/${group.number}`];
}

async function hold(
  facts: FunctionFacts,
  node: NodeFacts,
  inUse: boolean,
): Promise<Held | undefined> {
  if (inUse || node.refused === 'EBUSY') return { type: 'in-use' };
  const isViable = facts.group !== undefined && heldByHost(facts.group).length === 0;
  if (node.owner === undefined || node.refused !== undefined || !isViable) return undefined;
  try {
    return { type: 'held', facts: await holdFunction(facts.address) };
  } catch (error) {
    if (isLessorError(error, 'FUNCTION_BUSY')) return { type: 'in-use' };
    if (errnoOf(error) === undefined) throw error;
    const { message } = error as Error;
    return {
      type: 'refused',
      reason: message,
      hint: isLessorError(error) ? error.hint : undefined,
    };
  }
}
