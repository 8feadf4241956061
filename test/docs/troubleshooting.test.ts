import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CONDITION_REASONS } from '../../api/condition.ts';
import { OPERATOR_ERRORS } from '../../operator/errors.ts';
import { REFUSALS } from '../../sidecar/errors.ts';
import { START_ERRORS } from '../../sidecar/startErrors.ts';
import { STORE_ERRORS } from '../../store/errors.ts';
import { WEBHOOK_ERRORS } from '../../webhook/errors.ts';
import { ROOT } from './pages.ts';

const PAGE = readFileSync(join(ROOT, 'docs/troubleshooting.md'), 'utf8');
const REASONS = Object.keys(CONDITION_REASONS);
const TABLES = {
  sidecar: REFUSALS,
  store: STORE_ERRORS,
  'start-of-a-sidecar': START_ERRORS,
  operator: OPERATOR_ERRORS,
  webhook: WEBHOOK_ERRORS,
};

test.for(REASONS)('the reason %s is found in troubleshooting', (reason) => {
  expect(PAGE).toContain(`[\`${reason}\`](conditions.md#reasons)`);
});

test.for(
  Object.entries(TABLES).flatMap(([anchor, table]) => Object.keys(table).map((code) => [code, anchor] as const)),
)('the code %s of %s is found in troubleshooting', ([code, anchor]) => {
  expect(PAGE).toContain(`[\`${code}\`](errors.md#${anchor})`);
});

test('and none is there that does not exist', () => {
  const links = [...PAGE.matchAll(/\[`(\w+)`\]\((?:conditions|errors)\.md#([\w-]+)\)/g)];
  const known = new Set([
    ...REASONS.map((reason) => `${reason} reasons`),
    ...Object.entries(TABLES).flatMap(([anchor, table]) => Object.keys(table).map((code) => `${code} ${anchor}`)),
  ]);
  expect(links.map(([, code, anchor]) => `${code} ${anchor}`).filter((link) => !known.has(link))).toEqual([]);
});
