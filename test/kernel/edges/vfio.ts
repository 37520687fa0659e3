// Edges of a real device's life: how it is bound, attached, detached and closed.
import { hwInfo } from '../commands/hwpt.js';
import { destroy } from '../commands/ioas.js';
import { closeContext } from '../commands/vfio.js';
import type { Frame } from '../frame.js';
import { at, dataAt } from '../memory.js';
import { device, type Edge, newHwpt, newIoas, remove, step } from './edge.js';
import { attach, bind, closeFile, detach, openFile } from './vfio-step.js';

const neverOpen = 1_000_000;
const withPasid = 1;

/** Of a structure that VFIO reads: the first two words are its length and flags. */
const frames: readonly Frame[] = [
  ...[0, 4, 7, 8, 11, 12, 15, 16, 23, 24, 4096, 0xffff_ffff].map((size) => {
    return { kind: 'size' as const, size };
  }),
  ...[4, 8].map((by) => ({ kind: 'shorter' as const, by })),
  ...[0, 1].map((fill) => ({ kind: 'longer' as const, by: 8, fill })),
  { kind: 'before-hole', by: 0 },
  { kind: 'before-hole', by: 8 },
  { kind: 'place', place: 'hole' },
  { kind: 'place', place: 'read-only' },
  { kind: 'request', bits: 0x8000_0000 },
];

export const vfioEdges: readonly Edge[] = [
  {
    name: 'a VFIO device that is not bound',
    steps: [
      openFile,
      newIoas,
      attach(1),
      detach(),
      attach(1, { flags: 2 }),
      ...frames.map((frame) => attach(1, {}, frame)),
      ...frames.map((frame) => detach({}, frame)),
    ],
  },
  {
    name: 'how a VFIO device is bound',
    steps: [
      openFile,
      bind({ flags: 2 }),
      bind({ flags: 3 }),
      bind({ flags: 0x8000_0000 }),
      bind({ flags: 1 }),
      bind({ flags: 1, token: 0 }),
      bind({ flags: 1, token: at.hole, iommufd: neverOpen }),
      bind({ flags: 1, iommufd: neverOpen }),
      bind({ iommufd: -1 }),
      bind({ iommufd: -0x8000_0000 }),
      bind({ iommufd: neverOpen }),
      bind({ iommufd: 0x7fff_ffff }),
      bind({ iommufd: 'device' }),
      bind({ iommufd: 0 }),
      bind(),
      bind(),
      bind({ iommufd: neverOpen }),
      bind({ flags: 1, token: 0 }),
      bind({ flags: 2 }),
      remove(1),
      openFile,
      bind({ file: 1 }),
      attach(1, { file: 1 }),
      closeFile(1),
      closeFile(0),
      remove(1),
      openFile,
      bind(),
      newIoas,
    ],
  },
  ...frames.map((frame, index) => ({
    name: `the structure of a bind, way ${index} of being wrong`,
    steps: [openFile, newIoas, bind({}, frame), attach(1), detach(), bind(), attach(1)],
  })),
  {
    name: 'the structures of attach and detach',
    steps: [
      openFile,
      newIoas,
      bind(),
      ...frames.map((frame) => attach(1, {}, frame)),
      ...frames.map((frame) => attach(99, {}, frame)),
      ...frames.map((frame) => attach(1, { flags: withPasid, pasid: 1 }, frame)),
      ...frames.map((frame) => detach({}, frame)),
      ...frames.map((frame) => detach({ flags: withPasid, pasid: 1 }, frame)),
      ...[2, 3, 0x8000_0000].flatMap((flags) => [attach(1, { flags }), detach({ flags })]),
    ],
  },
  {
    name: 'what a VFIO device can be attached to',
    steps: [
      openFile,
      newIoas,
      bind(),
      detach(),
      attach(0),
      attach(99),
      attach(0xffff_ffff),
      attach(2),
      attach(1),
      // To the table that is there already.
      attach(1),
      attach(3),
      remove(3),
      remove(1),
      newHwpt(2, 1, 0),
      attach(4),
      remove(3),
      remove(4),
      newIoas,
      attach(3),
      attach(4),
      attach(99),
      detach(),
      detach(),
      remove(4),
      remove(1),
      remove(3),
      remove(2),
    ],
  },
  {
    // Nothing is replaced: there the kernel does not ask whose table it is, and the mock takes any
    // device for one of its own.
    name: 'devices of two IOMMUs, and the page tables of both',
    steps: [
      openFile,
      newIoas,
      newIoas,
      bind(),
      device(1),
      attach(6),
      newHwpt(5, 2, 0),
      attach(7),
      attach(1),
      detach(),
      newHwpt(3, 2, 0),
      device(8),
      attach(8),
      device(8),
      device(2),
    ],
  },
  {
    name: 'PASIDs of a VFIO device without any',
    steps: [
      openFile,
      newIoas,
      bind(),
      detach({ flags: withPasid, pasid: 1 }),
      attach(1, { flags: withPasid, pasid: 1 }),
      attach(99, { flags: withPasid, pasid: 1 }),
      newHwpt(2, 1, 0),
      attach(3, { flags: withPasid, pasid: 1 }),
      attach(1),
      attach(1, { flags: withPasid, pasid: 1 }),
      newHwpt(2, 1, 8),
      attach(5, { flags: withPasid, pasid: 1 }),
      detach({ flags: withPasid, pasid: 1 }),
    ],
  },
  {
    name: 'a PASID of a VFIO device without any, beside a plain attach',
    steps: [
      openFile,
      newIoas,
      bind(),
      newHwpt(2, 1, 8),
      attach(3),
      attach(1, { flags: withPasid, pasid: 1 }),
      attach(3, { flags: withPasid, pasid: 1 }),
    ],
  },
  {
    name: 'a PASID of a VFIO device without any, and nothing else',
    steps: [
      openFile,
      newIoas,
      bind(),
      newHwpt(2, 1, 8),
      attach(3, { flags: withPasid, pasid: 0xffff_ffff }),
    ],
  },
  {
    name: 'a VFIO device is closed while it is attached',
    steps: [
      openFile,
      newIoas,
      bind(),
      attach(1),
      remove(2),
      closeFile(),
      remove(2),
      remove(3),
      step(destroy, { object: { raw: 1 } }),
      openFile,
      newIoas,
      bind(),
      attach(1),
    ],
  },
  {
    name: 'an iommufd is closed before its VFIO device',
    steps: [
      openFile,
      newIoas,
      newIoas,
      bind(),
      attach(1),
      step(closeContext, {}),
      newIoas,
      attach(2),
      detach(),
      attach(1),
      bind(),
      closeFile(),
    ],
  },
  {
    name: 'what the IOMMU of a VFIO device says of itself',
    steps: [
      openFile,
      bind(),
      ...[0, 1, 4, 7, 8, 12, 16, 20, 23, 24, 25, 32, 64, 4096].map((length) => ({ length })),
      ...[
        { length: 0, pointer: 0 },
        { length: 0, pointer: at.hole },
        { pointer: at.hole },
        { pointer: at.readOnlyScratch },
        { pointer: dataAt + 3 * 4096 - 12 },
        { flags: 1, type: 0 },
        { flags: 1, type: 1 },
        { flags: 1, type: 2 },
        { flags: 1, type: 0xfeed_beef },
        { flags: 2 },
        { type: 1 },
        { reserved: 1 },
        { device: { raw: 2 } },
      ],
    ].map((each) => {
      if ('command' in each) return each;
      const usual = { flags: 0, device: { raw: 1 }, type: 0, pointer: dataAt, reserved: 0 };
      return step(hwInfo, { ...usual, length: 64, ...each });
    }),
  },
];
