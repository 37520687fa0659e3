// The command line of `npm run vm`.
import { parseArgs } from 'node:util';
import { variableIn } from './guest-script.js';
import { type KernelFlavour, kernelFlavours } from './kernel-recipe.js';
import { portAddress, usualMachine, type VmMachine } from './machine.js';

export const help = `Runs a command as root in a virtual machine with a real /dev/iommu, VFIO and an Intel IOMMU.

  npm run vm -- [options] [--] <command> [argument...]

The machine has the files of this one, read-only under an overlay that is thrown away afterwards,
and starts in the checkout. The first run makes it: about twelve minutes, once.

  --timeout SECONDS      end the machine after this (default 600)
  --env NAME=VALUE       set a variable; every LESSOR_* is passed on as it is (repeatable)
  --keep FOLDER          show a folder below /tmp, /run or /dev, which are fresh (repeatable)
  --console FILE         keep what the machine's kernel says
  --kernel stock|patched Debian's source as it is, or with the patches of test/vm/patches
  --cpus N, --memory MIB of the machine (default ${usualMachine.cpus}, ${usualMachine.memoryMib})
  --no-mqdma             no device at ${portAddress}; else one is served on this machine
  --vfio-user SLOT=PATH  plug in the device that a vfio-user server offers (repeatable)
  --append WORDS         more words for the kernel's command line
  --where                say where the kernel is and which it is; run nothing
  --help

Exit status: the command's; 124 when it took too long, 125 when the machine failed, 130 when
interrupted, 2 for a wrong command line, 3 when there can be no such machine here.

  npm run vm -- ls -l /dev/iommu
  npm run vm -- sh -c 'dmesg | grep DMAR'
  npm run vm -- --timeout 60 --console /tmp/kernel.log node --test something.mjs
`;

const options = {
  timeout: { type: 'string', default: '600' },
  env: { type: 'string', multiple: true, default: [] as string[] },
  keep: { type: 'string', multiple: true, default: [] as string[] },
  console: { type: 'string' },
  kernel: { type: 'string', default: 'stock' },
  cpus: { type: 'string', default: String(usualMachine.cpus) },
  memory: { type: 'string', default: String(usualMachine.memoryMib) },
  'no-mqdma': { type: 'boolean', default: false },
  'vfio-user': { type: 'string', multiple: true, default: [] as string[] },
  append: { type: 'string', multiple: true, default: [] as string[] },
  where: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

export interface VmArguments {
  readonly task: 'help' | 'where' | 'run';
  readonly command: readonly string[];
  readonly timeoutMs: number;
  readonly env: Readonly<Record<string, string>>;
  readonly keep: readonly string[];
  readonly consolePath: string | undefined;
  readonly flavour: KernelFlavour;
  /** An mqdma is served on this machine for the time of the guest. */
  readonly mqdma: boolean;
  readonly machine: VmMachine;
}

function oneOf<Word extends string>(name: string, word: string, words: readonly Word[]): Word {
  const found = words.find((each) => each === word);
  if (found === undefined) throw new RangeError(`--${name} is ${words.join(' or ')}, not ${word}`);
  return found;
}

function count(name: string, text: string, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new RangeError(`--${name} is a number from 1 to ${most}, not ${text}`);
}

/** Our options end where the command begins: what follows is the command's, dashes or not. */
function split(words: readonly string[]): readonly [ours: string[], command: string[]] {
  const takesValue = (word: string): boolean => {
    const option = options[word.slice(2) as keyof typeof options];
    return option !== undefined && option.type === 'string';
  };
  let at = 0;
  while (at < words.length) {
    const word = words[at] ?? '';
    if (word === '--') return [words.slice(0, at), words.slice(at + 1)];
    if (!word.startsWith('-')) break;
    at += takesValue(word) ? 2 : 1;
  }
  return [words.slice(0, at), words.slice(at)];
}

/** @throws RangeError or TypeError with what is wrong with the words. */
export function vmArguments(words: readonly string[]): VmArguments {
  const [ours, command] = split(words);
  const { values } = parseArgs({ args: ours, options });
  const task = values.help ? 'help' : values.where ? 'where' : 'run';
  if (task === 'run' && command.length === 0) throw new RangeError('a command is missing');
  const vfioUser = values['vfio-user'].map((text) => {
    const match = /^(\d+)=(.+)$/.exec(text);
    if (match === null) throw new RangeError(`--vfio-user is SLOT=PATH, not ${text}`);
    return [match[1], match[2]] as const;
  });
  return {
    task,
    command,
    timeoutMs: count('timeout', values.timeout, 86_400) * 1000,
    env: Object.fromEntries(values.env.map(variableIn)),
    keep: values.keep,
    consolePath: values.console,
    flavour: oneOf('kernel', values.kernel, kernelFlavours),
    mqdma: !values['no-mqdma'],
    machine: {
      cpus: count('cpus', values.cpus, 64),
      memoryMib: count('memory', values.memory, 1_048_576),
      vfioUser: Object.fromEntries(vfioUser),
      kernelWords: values.append,
    },
  };
}
