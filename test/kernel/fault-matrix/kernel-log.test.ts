import { describe, expect, it } from 'vitest';
import { parseRefusal } from './kernel-log.js';

describe('refusals in the log of the kernel', () => {
  it('are read with and without a PASID', () => {
    const plain =
      '3,302,9000000,-;DMAR: [DMA Write NO_PASID] Request device [0000:00:05.0] fault addr 0x8001000 [fault reason 0x05] PTE Write access is not set\n';
    expect(parseRefusal(plain)).toEqual({
      access: 'write',
      iova: 0x800_1000,
      pasid: undefined,
      requester: '0000:00:05.0',
      reason: '0x05 PTE Write access is not set',
    });
    const tagged =
      '3,303,9000000,-;DMAR: [DMA Read PASID 0x1f] Request device [0001:3a:1f.7] fault addr 0x0 [fault reason 0x71] SM: Present bit in first-level paging entry is clear\n';
    expect(parseRefusal(tagged)).toMatchObject({
      access: 'read',
      iova: 0,
      pasid: 31,
      requester: '0001:3a:1f.7',
    });
  });

  it.each([
    '3,301,8999999,-;DMAR: DRHD: handling fault status reg 2\n',
    '6,1,0,-;DMAR: Host address width 48\n',
    '',
  ])('are not seen in %j', (record) => {
    expect(parseRefusal(record)).toBeUndefined();
  });
});
