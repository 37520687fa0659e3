// docs/reference/errors.md, generated from the error table.
import { type ErrorCode, errorTable } from './error-table.js';

const exits = {
  1: 'failure',
  2: 'usage',
  3: 'not ready',
  4: 'denied',
  5: 'busy',
  6: 'revoked',
} as const;

/** The whole page. */
export function errorPage(): string {
  const rows = (Object.keys(errorTable) as ErrorCode[]).map((code) => {
    const { errno, retry, exit, hint } = errorTable[code];
    return `| \`${code}\` | ${errno} | ${retry ? 'yes' : 'no'} | ${exit} | ${hint} |`;
  });
  const statuses = Object.entries(exits).map(([status, word]) => `${status} ${word}`);
  return `# Errors

<!-- Generated from src/base/error-table.ts by "node dist/test/tools/write-pages.js". -->

Every expected error has a code, which does not change. A lease fd answers with the errno; the
control service with an error named after the code (\`LEASE_REVOKED\` is \`LeaseRevoked\`) that carries
code, errno, hint and detail; the SDK throws a \`LessorError\` with the same; the CLI ends with the
exit status. "Retry" means that the same request may succeed later. An error of a system call that
has no row of its own is \`SYSTEM_FAILED\` with the errno of that call.

| code | errno | retry | exit | what to do |
|---|---|---|---|---|
${rows.join('\n')}

Exit statuses of the CLI: 0 ok, ${statuses.join(', ')}.
`;
}
