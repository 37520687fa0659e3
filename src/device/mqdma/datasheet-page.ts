// Writes docs/reference/mqdma-datasheet.md from the tables. Run as a program, prints the page:
// node dist/src/device/mqdma/datasheet-page.js > docs/reference/mqdma-datasheet.md

import { fileURLToPath } from 'node:url';
import { limits } from '../../base/limits.js';
import * as sheet from './datasheet.js';

function hex(value: number, digits: number): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function registers(rows: readonly sheet.RegisterRow[]): string {
  return table(
    ['offset', 'name', 'access', 'meaning'],
    rows.map((row) => [hex(row.offsetBytes, 3), `\`${row.name}\``, row.access, row.text]),
  );
}

function fields(rows: readonly sheet.FieldRow[]): string {
  return table(
    ['offset', 'bytes', 'name', 'meaning'],
    rows.map((row) => [
      hex(row.offsetBytes, 2),
      String(row.lengthBytes),
      `\`${row.name}\``,
      row.text,
    ]),
  );
}

function codes(rows: readonly sheet.CodeRow[], what: string): string {
  return table(
    [what, 'name', 'meaning'],
    rows.map((row) => [String(row.code), `\`${row.name}\``, row.text]),
  );
}

const { mqdma } = sheet;

const introduction = `# mqdma: the embedded multi-queue DMA engine

<!-- Generated from src/device/mqdma/datasheet.ts; a test compares. -->

mqdma is the function that lessor emulates: 1 to ${mqdma.queueCountMax} independent queues, each with a page of
registers that one client maps, a read-only page beside it, an interrupt, and a PASID or a range of
addresses that confines its DMA. Vendor ${hex(mqdma.vendorId, 4)}, device ${hex(mqdma.deviceId, 4)}, class ${hex(mqdma.classCode, 6)} (processing
accelerator). All values are little-endian. Registers are 32 bits wide: narrower writes are dropped, an aligned 64-bit
access is one to each of two registers, the lower first.

| BAR | what |
| --- | --- |
| 0 | control: never leased |
| 2 | two pages per queue, \`PAGE_STRIDE\` apart: page 2n read-write, page 2n + 1 read-only |
| 4 | MSI-X table and PBA: one vector per queue, then one for errors |`;

const isolation = `## Isolation

What a queue's DMA may reach is fixed by \`ISOLATION\`, \`PASID\` and the bounds, which can be written
only while the queue is disabled and idle, and take effect at \`ENABLE\`. With bounds, an access that
does not lie wholly in [base, base + length) faults; addresses are absolute, nothing is added to
them. The whole range of a ring, and of each operand, is checked, wrap included, before a byte of
it moves. Page permissions are checked as the bytes move: what precedes a page that is not mapped
may have been written.

\`ENABLE\` 0 takes effect at once: the transfer under way stops between two chunks of at most
${mqdma.chunkBytes} bytes, and \`IDLE\` reads 1. Where memory is reached by message, \`IDLE\` reads 0 until the
message under way was answered.

A fault stops its queue only. It is recorded in the queue's registers and status page, its bit in
\`FAULT_PENDING\` is set, and \`ERROR_VECTOR\` fires. The queue runs again after RING_CONTROL went
1 to 0 and 0 to 1, or after \`RESET\` and \`ENABLE\`.`;

const rings = `## Rings

Two rings of the same number of entries lie in the holder's memory, each at a multiple of
${mqdma.ringAlignmentBytes} bytes: descriptors of ${mqdma.descriptorBytes} bytes, completions of ${mqdma.completionBytes}. The ring registers count only when
\`RING_CONTROL\` goes from 0 to 1: they are copied, checked, and \`STATE\` tells the result. Counters start at
0 then. \`RING_CONTROL\` 1 to 0 lets the descriptor under way finish, and ends in state DISCONNECTED.

The device copies each descriptor once before it looks at it. It fetches one only while fewer than
a ring of completions are unread, by \`COMPLETION_HEAD\`. Completions are written in the order of
the descriptors, the word with the phase bit last.

**Doorbell.** Store \`TAIL\`; then load \`NEED_WAKEUP\`; if it is not 0, write \`KICK\` by message, or
ring the eventfd that a vfio-user server gives for it (of the first ${limits.vfioUserIoFdEntriesMax} queues). Store and load
are to be sequentially consistent. The device sets \`NEED_WAKEUP\`, looks at every \`TAIL\` once more,
and only then sleeps.

**Interrupt.** Store a new value that is not 0 in \`ARM\`; look for completions once more; then wait.
The device writes completions and then loads \`ARM\`; it fires once for each value. Both are to be
sequentially consistent.

**Turns.** A queue's turn ends after ${mqdma.turnDescriptors} descriptors or ${mqdma.turnBytes} bytes; then the next queue that
has work gets its own.`;

const injection = `## Injected faults

Where capability INJECTION is set, registers named \`INJECT_\` provoke what a broken device does.
Elsewhere they read 0 and ignore writes. Delayed DMA counts as sent: it lands, or faults, when it is
due, whatever happens to the queue meanwhile; only a reset of the function calls it back. A dead
function reads all ones, ignores writes and does nothing.`;

/** The page, with a final newline. */
export function datasheetPage(): string {
  const sections = [
    introduction,
    '## BAR0: control',
    registers(sheet.controlRows),
    'Capability bits:',
    codes(sheet.capabilityRows, 'bit value'),
    `## BAR0: registers of queue n, at QUEUE_REGISTERS + n * QUEUE_REGISTERS_STRIDE`,
    registers(sheet.queueControlRows),
    'Isolation bits:',
    codes(sheet.isolationRows, 'bit value'),
    'Queue status bits:',
    codes(sheet.queueStatusRows, 'bit value'),
    isolation,
    '## BAR2: queue page, read-write',
    registers(sheet.queuePageRows),
    '## BAR2: status page, read-only',
    registers(sheet.statusPageRows),
    'Ring states:',
    codes(sheet.ringStateRows, 'state'),
    'Ring errors:',
    codes(sheet.ringErrorRows, 'error'),
    rings,
    '## Descriptors',
    fields(sheet.descriptorRows),
    codes(sheet.opcodeRows, 'opcode'),
    codes(sheet.descriptorFlagRows, 'flag'),
    '## Completions',
    fields(sheet.completionRows),
    codes(sheet.completionStatusRows, 'status'),
    '## Fault records',
    codes(sheet.accessRows, 'access code'),
    codes(sheet.reasonRows, 'reason code'),
    injection,
  ];
  return `${sections.join('\n\n')}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(datasheetPage());
