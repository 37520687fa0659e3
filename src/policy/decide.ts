// May this peer have this lease, and on what terms? Pure: the same facts give the same verdict.
import type { ErrorCode } from '../base/errors.js';
import {
  type Isolation,
  isolationAtLeast,
  isolationUnderServer,
  type Revocation,
  revocationAtLeast,
} from '../base/labels.js';
import { roundUp } from '../base/units.js';
import type { AcquireRequest, Denial, Facts, Offer, Verdict } from './types.js';

function deny(code: ErrorCode, detail: string): Denial {
  return { deny: true, code, detail };
}

/** True for the broker's own uid and root. */
export function isAdmitted(uid: number, brokerUid: number): boolean {
  return uid === brokerUid || uid === 0;
}

/** The lease is the only one on its function: the request says so, or the driver has no other. */
export function isAlone(
  request: Pick<AcquireRequest, 'exclusive'>,
  offer: Pick<Offer, 'isolation'>,
): boolean {
  return request.exclusive || offer.isolation === 'exclusive';
}

/** The verdict on a request for a lease. */
export function decide(request: AcquireRequest, facts: Facts): Verdict {
  const denial = personDenial(facts) ?? sizeDenial(request, facts);
  if (denial) return denial;
  const offered = offeredRevocations(request, facts);
  const revocation = chooseRevocation(request, offered);
  if (revocation === undefined) return revocationDenial(request, facts, offered);
  const isolation = isolationOf(request, facts, revocation);
  const exclusive = isAlone(request, facts.offer);
  const weak =
    isolationDenial(request, facts, isolation, revocation) ??
    listenDenial(request, facts, revocation);
  if (weak) return weak;
  return {
    allow: true,
    terms: {
      isolation,
      revocation,
      exclusive,
      memoryBytes: roundUp(request.memoryBytes, facts.offer.iovaPageBytes),
      vectors: request.vectors ?? Math.min(facts.offer.vectors, facts.limits.vectorsPerLeaseMax),
      ttlMs: request.ttlMs,
      ttlMsMax: facts.limits.ttlMsMax,
      holder: request.holder,
      waitMs: request.waitMs,
      priority: request.priority,
      allowUnsealedMemory: facts.switches.allowUnsealedMemory,
      listen: request.listen,
    },
  };
}

function personDenial({ peer, brokerUid, usage, limits }: Facts): Denial | undefined {
  if (!isAdmitted(peer.uid, brokerUid)) {
    return deny('DENIED', `uid ${peer.uid} is neither that of the broker (${brokerUid}) nor root`);
  }
  if (usage.draining) return deny('DENIED', 'the broker drains: it gives no new lease');
  if (usage.leasesOfUid >= limits.leasesPerUidMax) {
    return deny('QUOTA_EXCEEDED', `uid ${peer.uid} has ${usage.leasesOfUid} leases`);
  }
  return undefined;
}

function sizeDenial(request: AcquireRequest, { offer, limits }: Facts): Denial | undefined {
  const over = (what: string, value: number, max: number): Denial | undefined =>
    value > max ? deny('INVALID_ARGUMENT', `${what} ${value} is over ${max}`) : undefined;
  const memoryBytesMax = Math.min(limits.leaseMemoryBytesMax, offer.apertureBytes);
  const memoryBytes = roundUp(request.memoryBytes, offer.iovaPageBytes);
  const vectorsMax = Math.min(offer.vectors, limits.vectorsPerLeaseMax);
  return (
    over('memoryBytes', memoryBytes, memoryBytesMax) ??
    over('vectors', request.vectors ?? 0, vectorsMax) ??
    over('ttlMs', request.ttlMs ?? 0, limits.ttlMsMax) ??
    over('waitMs', request.waitMs, limits.waitMsMax) ??
    over('priority', Math.abs(request.priority), limits.priorityMax)
  );
}

/** True when the peer may not have windows that harm the kernel in the wrong hands. */
function isKeptFromMapping({ peer, brokerUid, offer, switches }: Facts): boolean {
  const isTrusted = isAdmitted(peer.uid, brokerUid) || switches.forceDmaBufWindows;
  return offer.windows.harmful && !isTrusted;
}

/**
 * What this request can have. A VM monitor has registers mapped into its guest, where a mapping
 * that was taken away kills the monitor: it keeps the bytes, which reach nobody; of a device's own
 * registers there are no such bytes. It cannot hold the whole device: the broker would have to kill
 * it.
 *
 * Kernels with a flaw in their dma-bufs give windows on registers to trusted users alone, which
 * are the broker's own and root. As long as nobody else is admitted at all, nobody else asks.
 */
export function offeredRevocations(request: AcquireRequest, facts: Facts): readonly Revocation[] {
  const { revocations, windows } = facts.offer;
  const allowed = revocations.filter((offered) => {
    if (offered === 'process') return mayHaveDevice(request, facts);
    return !(offered === 'kernel' && isKeptFromMapping(facts));
  });
  if (!request.listen) return allowed;
  return allowed
    .filter((offered) => offered !== 'process' && !(offered === 'kernel' && windows.direct))
    .map((offered) => (offered === 'kernel' ? 'orphan' : offered));
}

/** The device itself is for those who ask for no more than that, by name. */
function mayHaveDevice(request: AcquireRequest, facts: Facts): boolean {
  return request.revocation === 'process' && deviceDenial(request, facts) === undefined;
}

/**
 * Why nobody can have the whole device by this request. Its holder is a process that the broker can
 * see and end, and whose leases nothing is promised of that the device's registers could undo.
 */
function deviceDenial(request: AcquireRequest, facts: Facts): Denial | undefined {
  const { peer, brokerUid, brokerPid, switches, offer } = facts;
  const refuse = (code: ErrorCode, detail: string, hint: string): Denial => ({
    ...deny(code, detail),
    hint,
  });
  if (!switches.allowProcess) {
    const hint = 'serve with --allow-process and --allow-cooperative';
    return refuse('DENIED', 'giving the device itself to a process is not allowed', hint);
  }
  if (offer.isolation !== 'exclusive' && offer.isolation !== 'cooperative') {
    const detail = `whoever has the device undoes what keeps its leases apart (${offer.isolation})`;
    return refuse('ISOLATION_UNAVAILABLE', detail, 'serve with --isolation cooperative');
  }
  if (request.holder !== 'acquirer' || request.listen) {
    const detail = 'the device itself is given to the process that acquires it alone';
    return refuse('REVOCATION_UNAVAILABLE', detail, "leave out listen and holder 'fd'");
  }
  if (peer.pid === brokerPid || (brokerUid !== 0 && peer.uid !== brokerUid)) {
    const detail = `the broker cannot end process ${peer.pid} of uid ${peer.uid}`;
    return refuse(
      'DENIED',
      detail,
      'acquire it in a process of its own, as the user of the broker',
    );
  }
  return undefined;
}

/** The preferred one of those that satisfy the request. */
function chooseRevocation(
  request: AcquireRequest,
  revocations: readonly Revocation[],
): Revocation | undefined {
  return revocations.find(
    (offered) =>
      (request.revocation === undefined || revocationAtLeast(offered, request.revocation)) &&
      !(request.mapped && offered === 'mediated'),
  );
}

export function revocationDenial(
  request: AcquireRequest,
  facts: Facts,
  revocations: readonly Revocation[],
): Denial {
  if (request.revocation === 'process' && facts.offer.revocations.includes('process')) {
    const denial = deviceDenial(request, facts);
    if (denial !== undefined) return denial;
  }
  const wanted = request.revocation ?? 'any revocation';
  const mapped = request.mapped ? ' with mapped windows' : '';
  const offered = revocations.join(', ') || 'none';
  const detail = `${wanted}${mapped} is not on offer, only: ${offered}`;
  const denial = deny('REVOCATION_UNAVAILABLE', detail);
  if (!isKeptFromMapping(facts)) return denial;
  const hint = 'this kernel has a flaw in its dma-bufs; serve with --force-dma-buf-windows';
  return { ...denial, hint };
}

/**
 * The label that the lease will show. A holder of the whole device fd is alone or not, nobody
 * keeps it from the others' memory; a lease alone on the function has the IOMMU to itself; and a
 * server can keep memory whoever else uses it.
 */
function isolationOf(request: AcquireRequest, { offer }: Facts, revocation: Revocation): Isolation {
  if (revocation === 'process') return 'cooperative';
  const policedByOthers = offer.isolation === 'cooperative' || offer.isolation === 'device-bounds';
  const isolation = request.exclusive && policedByOthers ? 'exclusive' : offer.isolation;
  return offer.served ? isolationUnderServer(isolation) : isolation;
}

function isolationDenial(
  request: AcquireRequest,
  { switches }: Facts,
  isolation: Isolation,
  revocation: Revocation,
): Denial | undefined {
  if (request.isolation !== undefined && !isolationAtLeast(isolation, request.isolation)) {
    return deny(
      'ISOLATION_UNAVAILABLE',
      `${request.isolation} was asked, ${isolation} is on offer`,
    );
  }
  if (isolation === 'cooperative' && !switches.allowCooperative) {
    const denial = deny('DENIED', 'cooperative isolation, which protects nobody, is not allowed');
    const way = 'serve with --allow-cooperative';
    const hint = revocation === 'process' ? way : `${way}, or ask for an exclusive lease`;
    return { ...denial, hint };
  }
  return undefined;
}

/**
 * A VM monitor maps all of its guest's memory where the guest has it: it needs an address space
 * that it shares with nobody, and windows that do not take it along when they end.
 */
function listenDenial(
  request: AcquireRequest,
  { offer, usage, limits }: Facts,
  revocation: Revocation,
): Denial | undefined {
  if (!request.listen) return undefined;
  if (offer.isolation !== 'pasid' && !isAlone(request, offer)) {
    const what = `leases of this function share an address space (${offer.isolation})`;
    const denial = deny('ISOLATION_UNAVAILABLE', `${what}: a VM needs one of its own`);
    return { ...denial, hint: 'ask for an exclusive lease, or serve with isolation pasid' };
  }
  const orphanBytes = usage.orphanBytesOfUid + (revocation === 'orphan' ? offer.windowBytes : 0);
  if (orphanBytes > limits.orphanBytesPerUidMax) {
    const detail = `${orphanBytes} bytes of windows are over ${limits.orphanBytesPerUidMax}`;
    const hint = 'let VM monitors close the connections of leases that ended';
    return { ...deny('QUOTA_EXCEEDED', detail), hint };
  }
  return undefined;
}

/**
 * May a lease of one uid have its device read and write a window of a lease of another? Its holder
 * passed the descriptor on; still only root and the same uid may. Undefined: allowed.
 */
export function windowMapDenial(mapperUid: number, windowUid: number): Denial | undefined {
  if (mapperUid === windowUid || mapperUid === 0) return undefined;
  return deny('DENIED', `uid ${mapperUid} may not map a window of uid ${windowUid}`);
}

/**
 * May this process use what another's listening lease serves? Its own user and root may: who else
 * can open the socket is up to the mode of a file that the broker did not make. Undefined: allowed.
 */
export function connectDenial(peerUid: number, leaseUid: number): Denial | undefined {
  if (peerUid === leaseUid || peerUid === 0) return undefined;
  const detail = `uid ${peerUid} may not use a lease of uid ${leaseUid}`;
  return deny('DENIED', detail);
}
