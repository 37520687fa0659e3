// Runs inside of the virtual machine: the interrupts of QEMU's EDU device, behind vfio-pci, ring
// the eventfds they are bound to and no others, and what the IOMMU refuses it is told. Ends with
// status 1 when something is wrong.
import { AssertionFailure } from '../../../src/base/errors.js';
import { createOs } from '../../../src/os/index.js';
import { openEduDevice } from './edu-interrupts.js';
import { faultLogCases } from './fault-log-cases.js';
import { lineCases } from './line-cases.js';
import { messageCases } from './message-cases.js';

const os = createOs();
const cases = [...messageCases, ...lineCases, ...faultLogCases];
let failures = 0;
for (const { name, run } of cases) {
  using device = await openEduDevice(os);
  try {
    await run(device, os);
    process.stdout.write(`ok: ${name}\n`);
  } catch (error) {
    failures += 1;
    const { message, stack } = error as Error;
    process.stdout.write(
      `FAILED: ${name}: ${error instanceof AssertionFailure ? message : stack}\n`,
    );
  }
}
process.stdout.write(`${cases.length - failures} of ${cases.length} held\n`);
process.exitCode = failures === 0 ? 0 : 1;
