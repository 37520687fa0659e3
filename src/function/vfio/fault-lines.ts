// The lines in which drivers of IOMMUs say in the kernel's log that a device was refused. Pure.
// Everything is anchored at the start of what the kernel itself said: names of devices that others
// choose, and what user space writes to the log, are not taken for it.
import { iovaEnd } from '../../base/units.js';
import type { FaultReason } from '../../iommu/types.js';
import { SmmuLines } from './fault-lines-smmu.js';

/** One refusal, as the log has it. */
export interface LoggedFault {
  /** The function as in sysfs; where a kernel leaves the segment out, 0000 is assumed. */
  readonly requester: string;
  /** undefined: none was presented, or the line does not tell. */
  readonly pasid: number | undefined;
  /** Start of the page that was accessed, for Intel; the address, for others. */
  readonly iova: number;
  readonly access: 'read' | 'write';
  /**
   * `not mapped` also where the IOMMU does not tell it from `no permission`: an entry that grants
   * nothing and one that does not grant this look the same to some tables.
   */
  readonly reason: FaultReason;
  /** What the line says: number and words, or the flags. */
  readonly words: string;
}

type Parse = (text: string) => LoggedFault | undefined;

const address = '(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[0-9a-f]{2}\\.[0-7])';

function requesterOf(segment: string | undefined, function_: string): string {
  return `${segment ?? '0000'}:${function_}`;
}

/** @returns undefined for what no address space of ours reaches. */
function iovaOf(digits: string): number | undefined {
  const iova = Number.parseInt(digits, 16);
  return iova < iovaEnd ? iova : undefined;
}

const intelLine = new RegExp(
  `^DMAR: \\[DMA (Read|Write) (?:NO_PASID|PASID 0x([0-9a-f]{1,5}))\\] Request device \\[${address}\\] fault addr 0x([0-9a-f]{1,16}) \\[fault reason 0x([0-9a-f]{2})\\] (.*)$`,
);

/** No entry for the device or its PASID; or one that blocks everything. */
const notAttached = new Set([0x01, 0x02, 0x0d, 0x39, 0x41, 0x51, 0x59]);
/** The device may present no PASID, or not this one. */
const wrongPasid = new Set([0x31, 0x45, 0x46]);
/** First-level tables tell what is not present from what is not allowed. */
const noPermission = new Set([0x75, 0x76, 0x77, 0x81, 0x82, 0x85, 0x86]);
/** Nothing present, beyond the tables, or a second-level entry without the right it takes. */
const notMapped = new Set([0x04, 0x05, 0x06, 0x71, 0x74, 0x79, 0x80, 0x83, 0x84]);

function intelReason(number: number): FaultReason {
  if (notAttached.has(number)) return 'not attached';
  if (wrongPasid.has(number)) return 'wrong pasid';
  if (noPermission.has(number)) return 'no permission';
  if (notMapped.has(number)) return 'not mapped';
  // Tables that are broken or could not be read: nothing that a map would mend.
  return 'not reachable';
}

/**
 * `DMAR: [DMA Write NO_PASID] Request device [0000:00:05.0] fault addr 0x1000 [fault reason 0x05]`
 * and words.
 *
 * @see linux drivers/iommu/intel/dmar.c `dmar_fault_do_one`
 */
const parseIntel: Parse = (text) => {
  const match = intelLine.exec(text);
  if (match === null) return undefined;
  const [, access, pasid, segment, function_, digits, reason, words] = match;
  const iova = iovaOf(digits!);
  if (iova === undefined) return undefined;
  return {
    requester: requesterOf(segment, function_!),
    pasid: pasid === undefined ? undefined : Number.parseInt(pasid, 16),
    iova,
    access: access === 'Read' ? 'read' : 'write',
    reason: intelReason(Number.parseInt(reason!, 16)),
    words: `0x${reason} ${words}`,
  };
};

/** With the device by its name, as its driver speaks of it, or in the event. */
const amdLine = new RegExp(
  `^(?:[A-Za-z0-9_-]+ ${address}: )?AMD-Vi: Event logged \\[IO_PAGE_FAULT (?:device=${address} )?domain=0x[0-9a-f]{4,5} address=0x([0-9a-f]{1,16}) flags=0x([0-9a-f]{4})\\]$`,
);

const amdFlags = { INTERRUPT: 0x008, PRESENT: 0x010, WRITE: 0x020, PERMISSION: 0x040 } as const;

/**
 * `vfio-pci 0000:01:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000a address=0x1000`
 * `flags=0x0020]`, on one line. Its `domain` is a PASID for some requests, which nothing in the
 * line tells: none is given.
 *
 * @see linux drivers/iommu/amd/iommu.c `amd_iommu_report_page_fault`; AMD I/O Virtualization
 *   Technology Specification 48882, IO_PAGE_FAULT event
 */
const parseAmd: Parse = (text) => {
  const match = amdLine.exec(text);
  if (match === null) return undefined;
  const [, ownSegment, own, segment, named, digits, flagDigits] = match;
  const function_ = own ?? named;
  const iova = iovaOf(digits!);
  const flags = Number.parseInt(flagDigits!, 16);
  // An interrupt that was refused is no DMA.
  if (function_ === undefined || iova === undefined) return undefined;
  if ((flags & amdFlags.INTERRUPT) !== 0) return undefined;
  const isThere = (flags & amdFlags.PRESENT) !== 0;
  return {
    requester: requesterOf(own === undefined ? segment : ownSegment, function_),
    pasid: undefined,
    iova,
    access: (flags & amdFlags.WRITE) === 0 ? 'read' : 'write',
    reason: isThere && (flags & amdFlags.PERMISSION) !== 0 ? 'no permission' : 'not mapped',
    words: `IO_PAGE_FAULT flags 0x${flagDigits}`,
  };
};

/** Reads the records of /dev/kmsg one after the other. */
export class FaultLines {
  readonly #smmu = new SmmuLines();

  /**
   * @param record - Syslog prefix, sequence number, time, flags; the text; then fields.
   * @returns The refusal it tells of, if it is one; nothing else is judged.
   * @see linux Documentation/ABI/testing/dev-kmsg
   */
  take(record: string): LoggedFault | undefined {
    const line = /^([0-9]+),[0-9]+,[0-9]+,[^;\n]*;([^\n]*)/.exec(record);
    if (line === null) return undefined;
    const [, prefix, text] = line;
    // Eight levels for each facility, of which the first is the kernel: others wrote the rest.
    if (Number(prefix) >= 8) return undefined;
    return parseIntel(text!) ?? parseAmd(text!) ?? this.#smmu.take(text!);
  }
}
