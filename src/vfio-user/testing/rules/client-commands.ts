// What a client makes of commands that its server sends.
import * as u from '../../../uapi/vfio-user.js';
import { commandRules, type ServerCommandRow } from './client-rule.js';
import type { Rule } from './rule.js';

const info = new Uint8Array(16);

const rows: readonly ServerCommandRow[] = [
  ['unknown', 'an unknown command', { command: 99, payload: info, wants: 'ENOSYS' }],
  [
    'unknown-no-reply',
    'an unknown command that wants no answer',
    { command: 99, changes: { flags: 0x10 }, wants: 'silence' },
  ],
  [
    'unknown-descriptor',
    'an unknown command with a descriptor, which is closed',
    { command: 99, fdCount: 1, wants: 'ENOSYS' },
  ],
  [
    'device-info',
    'a command for servers',
    { command: u.VFIO_USER_DEVICE_GET_INFO, payload: info, wants: 'ENOSYS' },
  ],
  ['type-2', 'message type 2', { command: 11, payload: info, changes: { flags: 2 }, wants: 'end' }],
  [
    'reply',
    'a reply that nobody asked for',
    { command: 4, payload: info, changes: { flags: 1 }, wants: 'end' },
  ],
];

export const clientCommandRules: readonly Rule[] = commandRules('command', rows);
