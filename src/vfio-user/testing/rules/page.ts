// The rules as a page: docs/internals/vfio-user-rules.md.
import { protocolRules } from './all.js';
import type { Rule } from './rule.js';

function section(subject: string, rules: readonly Rule[]): string {
  const rows = rules.map(({ id, says, sends, wants }) => {
    return `| ${id.split('/').at(-1)} | ${says} | ${sends} | ${wants} |`;
  });
  const head = ['| rule | what | sent | must come back |', '|---|---|---|---|'];
  return [`### ${subject}`, '', ...head, ...rows].join('\n');
}

function groups(rules: readonly Rule[], key: (id: string) => string): Map<string, Rule[]> {
  const found = new Map<string, Rule[]>();
  for (const rule of rules) {
    const group = found.get(key(rule.id)) ?? [];
    found.set(key(rule.id), [...group, rule]);
  }
  return found;
}

export function rulesPage(): string {
  const roles = groups(protocolRules, (id) => id.split('/')[0] as string);
  const parts = [...roles].map(([role, ofRole]) => {
    const subjects = groups(ofRole, (id) => id.split('/').slice(0, 2).join('/'));
    const sections = [...subjects].map(([subject, rules]) => section(subject, rules));
    return [`## ${role}: ${ofRole.length} rules`, ...sections].join('\n\n');
  });
  const lead =
    `${protocolRules.length} rules of the protocol, each a test of its own ` +
    '(`src/vfio-user/rules.test.ts`), run in memory and on real sockets with real descriptors. ' +
    'An errno as what must come back means: that error and nothing else, every descriptor ' +
    'closed, the device not asked, and the connection lives. ' +
    'The tables are in `src/vfio-user/testing/rules`; this page is generated from them.';
  return ['# vfio-user rules', lead, ...parts].join('\n\n').concat('\n');
}
