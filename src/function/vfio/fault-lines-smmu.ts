// What the driver of an Arm SMMUv3 says of a refused DMA, which takes it two lines.
import { iovaEnd } from '../../base/units.js';
import type { FaultReason } from '../../iommu/types.js';
import type { LoggedFault } from './fault-lines.js';

/** `arm-smmu-v3 arm-smmu-v3.0.auto: `, or whatever the platform calls it. */
const smmu = '^(arm-smmu-v3 [^ ]{1,64}: )';
const firstLine = new RegExp(
  `${smmu}event: (F_[A-Z_]+) client: ([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]) sid: 0x[0-9a-f]+ ssid: (?:0x)?([0-9a-f]{1,5}) iova: 0x([0-9a-f]{1,16}) ipa: 0x[0-9a-f]+$`,
);
const secondLine = new RegExp(`${smmu}(?:un)?priv (?:data|inst) (read|write) s[12] "`);

const reasons: Readonly<Record<string, FaultReason>> = {
  F_TRANSLATION: 'not mapped',
  F_ADDR_SIZE: 'not mapped',
  F_PERMISSION: 'no permission',
  F_ACCESS: 'no permission',
};

/** Feed it every line of the kernel: between the two, other parts of it may speak. */
export class SmmuLines {
  #begun: { readonly speaker: string; readonly fault: Omit<LoggedFault, 'access'> } | undefined;

  /**
   * @returns What the second of two lines completes.
   * @see linux drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c `arm_smmu_dump_event`
   */
  take(text: string): LoggedFault | undefined {
    const first = firstLine.exec(text);
    if (first !== null) {
      this.#begin(first);
      return undefined;
    }
    const second = secondLine.exec(text);
    const begun = this.#begun;
    if (second === null || begun === undefined || second[1] !== begun.speaker) return undefined;
    this.#begun = undefined;
    return { ...begun.fault, access: second[2] === 'read' ? 'read' : 'write' };
  }

  #begin(match: RegExpExecArray): void {
    const [, speaker, event, requester, ssid, digits] = match as unknown as string[];
    const reason = reasons[event!];
    const iova = Number.parseInt(digits!, 16);
    // 0 stands for none.
    const pasid = Number.parseInt(ssid!, 16) || undefined;
    this.#begun =
      reason === undefined || iova >= iovaEnd
        ? undefined
        : {
            speaker: speaker!,
            fault: { requester: requester!, pasid, iova, reason, words: event! },
          };
  }
}
