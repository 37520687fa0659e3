import { expect, test } from 'vitest';
import { vmArguments } from './arguments.js';

test('options end where the command begins', () => {
  const { command, timeoutMs } = vmArguments(['--timeout', '5', 'node', '--help', '-e']);
  expect(command).toEqual(['node', '--help', '-e']);
  expect(timeoutMs).toBe(5000);
  expect(vmArguments(['--', '--odd', '--']).command).toEqual(['--odd', '--']);
  expect(vmArguments(['--timeout=7', 'ls', '--timeout']).timeoutMs).toBe(7000);
});

test('options that repeat add up', () => {
  const words = ['--env', 'A=b', '--env', 'C=d=e', '--keep', '/tmp/a', '--vfio-user', '6=/s'];
  const args = vmArguments([...words, 'true']);
  expect(args.env).toEqual({ A: 'b', C: 'd=e' });
  expect(args.keep).toEqual(['/tmp/a']);
  expect(args.machine.vfioUser).toEqual({ 6: '/s' });
});

test('there is an mqdma unless it is not wanted', () => {
  expect(vmArguments(['true']).mqdma).toBe(true);
  expect(vmArguments(['--no-mqdma', 'true']).mqdma).toBe(false);
});

test('help and where need no command', () => {
  expect(vmArguments(['--help']).task).toBe('help');
  expect(vmArguments(['--where']).task).toBe('where');
});

test.each([
  [[], 'a command is missing'],
  [['--'], 'a command is missing'],
  [['--nosuch', 'true'], '--nosuch'],
  [['--timeout', '0', 'true'], '--timeout is a number'],
  [['--timeout', 'x', 'true'], '--timeout is a number'],
  [['--timeout', '1e9', 'true'], '--timeout is a number'],
  [['--timeout'], '--timeout'],
  [['--env', 'A', 'true'], 'A is not NAME=VALUE'],
  [['--kernel', 'odd', 'true'], '--kernel is stock or patched, not odd'],
  [['--vfio-user', '/s', 'true'], '--vfio-user is SLOT=PATH'],
] as const)('%j is refused', (words, message) => {
  expect(() => vmArguments(words)).toThrow(message);
});
