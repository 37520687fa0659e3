import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { faultReasons } from '../../iommu/types.js';
import { FaultLines, type LoggedFault } from './fault-lines.js';

function parse(...texts: readonly string[]): LoggedFault | undefined {
  const lines = new FaultLines();
  return texts.map((text) => lines.take(`3,302,9000000,-;${text}\n`)).at(-1);
}

const intelWrite =
  'DMAR: [DMA Write NO_PASID] Request device [0000:00:05.0] fault addr 0x8001000 [fault reason 0x05] PTE Write access is not set';
const amdNamed =
  'vfio-pci 0000:c1:00.1: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000a address=0xfd30f0c0 flags=0x0020]';
const smmuSays = 'arm-smmu-v3 arm-smmu-v3.0.auto: ';
const smmuFirst = `${smmuSays}event: F_TRANSLATION client: 0000:01:00.0 sid: 0x100 ssid: 0x0 iova: 0x40000000 ipa: 0x0`;
const smmuSecond = `${smmuSays}unpriv data write s1 "Input address caused fault" stag: 0x0`;

describe('the lines of an Intel IOMMU', () => {
  it('are read without a PASID', () => {
    expect(parse(intelWrite)).toEqual({
      requester: '0000:00:05.0',
      pasid: undefined,
      iova: 0x800_1000,
      access: 'write',
      reason: 'not mapped',
      words: '0x05 PTE Write access is not set',
    });
  });

  it('are read with one', () => {
    const line =
      'DMAR: [DMA Read PASID 0x1f] Request device [0001:3a:1f.7] fault addr 0x0 [fault reason 0x71] SM: Present bit in first-level paging entry is clear';
    expect(parse(line)).toMatchObject({
      requester: '0001:3a:1f.7',
      pasid: 31,
      iova: 0,
      access: 'read',
      reason: 'not mapped',
    });
  });

  it('are read without a segment, as older kernels write them', () => {
    expect(parse(intelWrite.replace('[0000:00:05.0]', '[00:05.0]'))?.requester).toBe(
      '0000:00:05.0',
    );
  });

  it.each([
    ['0x02', 'not attached'],
    ['0x0d', 'not attached'],
    ['0x06', 'not mapped'],
    ['0x85', 'no permission'],
    ['0x45', 'wrong pasid'],
    ['0x59', 'not attached'],
    ['0x0c', 'not reachable'],
    ['0xff', 'not reachable'],
  ])('say why: %s is "%s"', (number, reason) => {
    expect(parse(intelWrite.replace('0x05', number))?.reason).toBe(reason);
  });
});

describe('the lines of an AMD IOMMU', () => {
  it('are read where the device speaks', () => {
    expect(parse(amdNamed)).toEqual({
      requester: '0000:c1:00.1',
      pasid: undefined,
      iova: 0xfd30_f0c0,
      access: 'write',
      reason: 'not mapped',
      words: 'IO_PAGE_FAULT flags 0x0020',
    });
  });

  it('are read where the event names it', () => {
    const line =
      'AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:02:00.0 domain=0x0000 address=0x1000 flags=0x0050]';
    expect(parse(line)).toMatchObject({
      requester: '0000:02:00.0',
      access: 'read',
      reason: 'no permission',
    });
  });

  it('are no fault of ours when an interrupt was refused', () => {
    expect(parse(amdNamed.replace('0x0020', '0x0008'))).toBeUndefined();
  });
});

describe('the lines of an Arm SMMUv3', () => {
  it('are two, between which others may speak', () => {
    expect(parse(smmuFirst)).toBeUndefined();
    expect(parse(smmuFirst, 'usb 1-1: new device', smmuSecond)).toEqual({
      requester: '0000:01:00.0',
      pasid: undefined,
      iova: 0x4000_0000,
      access: 'write',
      reason: 'not mapped',
      words: 'F_TRANSLATION',
    });
  });

  it('have a PASID that is not 0', () => {
    const first = smmuFirst
      .replace('ssid: 0x0', 'ssid: 0x3')
      .replace('F_TRANSLATION', 'F_PERMISSION');
    const read = smmuSecond.replace('write', 'read');
    expect(parse(first, read)).toMatchObject({ pasid: 3, access: 'read', reason: 'no permission' });
  });

  it.each([
    ['a second one alone', [smmuSecond]],
    ['a second one twice', [smmuFirst, smmuSecond, smmuSecond]],
    ['one of each of two IOMMUs', [smmuFirst, smmuSecond.replace('v3.0', 'v3.1')]],
    ['what is no page fault', [smmuFirst.replace('F_TRANSLATION', 'F_WALK_EABT'), smmuSecond]],
    [
      'a device that nobody knows',
      [smmuFirst.replace('0000:01:00.0', '(unassigned sid)'), smmuSecond],
    ],
  ])('are nothing: %s', (_name, texts) => {
    expect(parse(...texts)).toBeUndefined();
  });
});

describe('what is not a fault', () => {
  it.each([
    '',
    'DMAR: DRHD: handling fault status reg 2',
    `usb 1-1: Product: ${intelWrite}`,
    `x${intelWrite}`,
    intelWrite.replace('0x8001000', '0x1000000000000'),
    intelWrite.replace('0x8001000', '0xfffffffffffff000'),
    intelWrite.replace('NO_PASID', 'PASID 0x100000000'),
  ])('%j', (text) => {
    expect(parse(text)).toBeUndefined();
  });

  it('is a line that user space wrote to the log', () => {
    const lines = new FaultLines();
    expect(lines.take(`12,302,9000000,-;${intelWrite}\n`)).toBeUndefined();
    expect(lines.take(`3,302,9000000,-,caller=T1;${intelWrite}\n SUBSYSTEM=pci\n`)).toBeDefined();
  });

  it('is anything at all, and it harms nobody', () => {
    const lines = new FaultLines();
    const bytes = fc
      .uint8Array({ maxLength: 300 })
      .map((all) => Buffer.from(all).toString('latin1'));
    const pieces = [
      intelWrite,
      amdNamed,
      smmuFirst,
      smmuSecond,
      '3,1,2,-;',
      '\n',
      '0x',
      'ffffffffffff',
    ];
    const mixed = fc
      .array(fc.oneof(fc.constantFrom(...pieces), bytes), { maxLength: 6 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(fc.oneof(bytes, mixed), (record) => {
        const found = lines.take(record);
        if (found === undefined) return;
        expect(found.iova).toBeLessThan(2 ** 48);
        expect(found.pasid ?? 0).toBeLessThan(2 ** 20);
        expect(faultReasons).toContain(found.reason);
        expect(found.requester).toMatch(/^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/);
      }),
      { numRuns: 2000 },
    );
  });
});
