import { expect, test } from 'vitest';
import type { ErrorTable } from '../../lib/errors.ts';
import { OPERATOR_ERRORS } from '../../operator/errors.ts';
import { REFUSALS } from '../../sidecar/errors.ts';
import { START_ERRORS } from '../../sidecar/startErrors.ts';
import { STORE_ERRORS } from '../../store/errors.ts';
import { WEBHOOK_ERRORS } from '../../webhook/errors.ts';

const HEADER = `# Error codes

Branch on the code, never on the text. Each process has one table; this page is written from them by \`make goldens\`, and a test keeps it so.
`;

test('docs/errors.md lists every code of every process', async () => {
  const page = [
    HEADER,
    section(
      'Sidecar',
      'What an agent gets: the code is in the `sidekey-error` header and in `error.code` of the JSON body. Each is a line of the audit too.',
      REFUSALS,
    ),
    section(
      'Store',
      'What sidecars, the operator and the CLI get, as `code` of a JSON body. Codes without a status end the start of the store, with the code in its log and in what `sidekey up` prints.',
      STORE_ERRORS,
    ),
    section('Start of a sidecar', 'What `sidekey run` prints if its sidecar does not start.', START_ERRORS),
    section('Operator', 'What `sidekey up` prints and the log of the operator has.', OPERATOR_ERRORS),
    section(
      'Webhook',
      'What `kubectl` and the Events of a workload show when a pod is refused, before the message; what the annotation `sidekey.dev/status` of a pod has after `skipped`; and, without either, what ends the start of the webhook.',
      WEBHOOK_ERRORS,
    ),
  ].join('\n');
  await expect(page).toMatchFileSnapshot('../../docs/errors.md');
});

function section(title: string, intro: string, table: ErrorTable): string {
  const rows = Object.entries(table).map(
    ([code, { status, retryable, help }]) =>
      `| \`${code}\` | ${status === 0 ? '–' : status} | ${retryable ? 'yes' : 'no'} | ${help} |`,
  );
  return `## ${title}\n\n${intro}\n\n| code | status | retry | what happened, what to do |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}
