import type { AuditRow } from '../../lib/audit/row.ts';

/** `default/openai-key@1`; of what is unknown `-`, as in the others. */
export function credentialOf({ credential, version }: AuditRow): string {
  if (credential === undefined) return '-';
  return version === undefined ? credential : `${credential}@${version}`;
}

/** `GET api.openai.com/v1/models` */
export function callOf({ authority = '', method, path = '' }: AuditRow): string {
  return method === undefined ? '-' : `${method} ${authority}${path}`;
}

/** `403 RuleDenied (rule 1)` */
export function resultOf({ refusal = '', rule, status }: AuditRow): string {
  const result = [status ? String(status) : '', refusal, rule === undefined ? '' : `(rule ${rule})`];
  return result.filter((word) => word !== '').join(' ') || '-';
}
