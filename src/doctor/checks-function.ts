// Verdicts on one function: facts in, checks out.
import { heldByHost, isVfio } from '../function/vfio/group-members.js';
import { holderText } from '../function/vfio/node-holders.js';
import type { FunctionFacts } from '../function/vfio/sysfs-function.js';
import { type Check, fail, ok, warn } from './check.js';
import type { FunctionSituation, Held, HeldFacts } from './facts.js';
import { nodeText, udevAdvice } from './node-text.js';

/** That a message names; a group can have a whole bus in it. */
const namedMax = 8;

/** What stands between this function and its leases, from the outside in. */
export function functionChecks(situation: FunctionSituation): Check[] {
  const { address, facts } = situation;
  if (facts === undefined) {
    const found = `there is no function ${address}`;
    return [fail('function', { found, value: null, remedy: '"lspci -D" lists those there are' })];
  }
  return [
    identity(facts),
    driver(facts),
    group(facts),
    ...permissions(situation, facts),
    ...held(situation),
  ];
}

function identity(facts: FunctionFacts): Check {
  const id = (number: number | undefined): string =>
    number === undefined ? '????' : number.toString(16).padStart(4, '0');
  const ids = `${id(facts.vendorId)}:${id(facts.deviceId)}`;
  const more = [
    ...(facts.physicalFunction ? [`a virtual function of ${facts.physicalFunction}`] : []),
    ...(facts.numaNode === undefined ? [] : [`on NUMA node ${facts.numaNode}`]),
    ...(facts.powerState === undefined ? [] : [`in ${facts.powerState}`]),
  ];
  return ok('function', { found: [ids, ...more].join(', '), value: ids });
}

function driver({ address, driver: name }: FunctionFacts): Check {
  const value = name ?? null;
  if (name !== undefined && isVfio(name)) return ok('driver', { found: `${name} has it`, value });
  const found = name === undefined ? 'no driver has it' : `${name} of the host has it`;
  return fail('driver', { found, value, remedy: `lessor bind ${address}` });
}

function group({ group: its }: FunctionFacts): Check {
  if (its === undefined) {
    const remedy = 'switch the IOMMU on in the firmware and on the command line of the kernel';
    return fail('group', { found: 'no IOMMU is in front of it', value: null, remedy });
  }
  const value = its.number;
  const others = heldByHost(its);
  const size = its.members.length === 1 ? 'alone' : `with ${its.members.length - 1} others`;
  if (others.length === 0) {
    return ok('group', { found: `${size} in group ${value}, which is viable`, value });
  }
  const names = others.slice(0, namedMax).map((one) => `${one.address} (${one.driver})`);
  const rest = others.length > namedMax ? ` and ${others.length - namedMax} more` : '';
  return fail('group', {
    found: `in group ${value} with what the host uses: ${names.join(', ')}${rest}`,
    value,
    remedy: `lessor bind ${others
      .slice(0, namedMax)
      .map((one) => one.address)
      .join(' ')}`,
  });
}

function permissions({ node }: FunctionSituation, facts: FunctionFacts): Check[] {
  if (node === undefined) return [];
  const words = { found: nodeText(node), value: node.refused === undefined };
  const remedy = udevAdvice(facts);
  if (node.refused !== undefined) return [fail('permissions', { ...words, remedy })];
  const isPrivate = ((node.owner?.mode ?? 0) & 0o066) === 0;
  return [ok('permissions', { ...words, ...(isPrivate ? { remedy } : {}) })];
}

function held({ held: how, holders }: FunctionSituation): Check[] {
  if (how === undefined) return [];
  return [use(how, holders), ...(how.type === 'held' ? heldChecks(how.facts) : [])];
}

function use(how: Held, holders: FunctionSituation['holders']): Check {
  switch (how.type) {
    case 'held':
      return ok('use', { found: 'nobody has it', value: 'free' });
    case 'in-use': {
      const who = holders.length === 0 ? 'another process' : holderText(holders);
      const found = `in use by ${who}; what only shows once it is open was not looked at`;
      return warn('use', { found, value: 'in-use', remedy: 'ask again when that has ended' });
    }
    case 'refused': {
      const { reason: found, hint: remedy } = how;
      return fail('use', { found, value: 'refused', ...(remedy === undefined ? {} : { remedy }) });
    }
  }
}

/** What its leases will be, by what it and the kernel can do. */
function heldChecks(facts: HeldFacts): Check[] {
  return [way(facts), pasid(facts), reach(facts), reset(facts), vectors(facts), ...windows(facts)];
}

function way({ way: value }: HeldFacts): Check {
  if (value === 'iommufd') return ok('underside', { found: 'opened with iommufd', value });
  const found = 'opened by its group in a container: one address space, no PASIDs';
  return warn('underside', { found, value, remedy: 'a kernel with iommufd gives more' });
}

function pasid({ pasidBits: value }: HeldFacts): Check {
  if (value > 0) {
    const found = `${value} bits: each lease can have an address space of its own`;
    return ok('pasid', { found, value });
  }
  return warn('pasid', {
    found: 'none: leases share one address space, or one of them has the function',
    value,
    remedy: 'isolation is device-bounds where the driver offers it, else ask for exclusive leases',
  });
}

function reach({ lastIova }: HeldFacts): Check {
  const bits = lastIova.toString(2).length;
  return ok('dma', { found: `the IOMMU translates addresses of ${bits} bits`, value: bits });
}

function reset({ canReset: value }: HeldFacts): Check {
  if (value) return ok('reset', { found: 'the kernel can reset it', value });
  return warn('reset', {
    found: 'the kernel cannot reset it alone: a slice that does not come to rest stays away',
    value,
    remedy: 'a reset of the whole bus takes all functions of it, bound to vfio-pci',
  });
}

function vectors({ vectorCount: value }: HeldFacts): Check {
  if (value > 0) return ok('interrupts', { found: `${value} vectors`, value });
  return warn('interrupts', { found: 'none: clients have to poll', value });
}

function windows({ dmaBufs }: HeldFacts): Check[] {
  const { export: exported, map, revoke, memory, strangers } = dmaBufs;
  const mediated = 'clients reach registers by message (mediated)';
  const mapped = exported.works && map.works && revoke.works;
  const rows = [
    ['dma-buf-export', exported, 'parts of its BARs can be exported', mediated],
    ['dma-buf-map', map, 'clients can map them', mediated],
    ['dma-buf-revoke', revoke, 'they can be taken back: windows of clients are mapped', mediated],
    ['dma-buf-memory', memory, 'mappings can be write-combining', 'mappings are uncached'],
  ] as const;
  const checks = rows.map(([id, finding, works, without]) => {
    if (finding.works) return ok(id, { found: works, value: true });
    const found = `${finding.reason}: ${without}`;
    const remedy = 'a kernel that maps and revokes dma-bufs of VFIO gives more';
    return warn(id, { found, value: false, remedy });
  });
  if (!mapped || strangers.works) return checks;
  const found = `mapped windows are for the broker's own user and root: ${strangers.reason}`;
  return [...checks, warn('dma-buf-strangers', { found, value: false })];
}
