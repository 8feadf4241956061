import type { AuditRow } from './row.ts';

/** Whether what was asked for came about. A request that an upstream refused was let through by us. */
export function refused(row: AuditRow): boolean {
  return row.refusal !== undefined || row.kind.endsWith('.refused');
}

/** A sentence for people. */
export function sentence(row: AuditRow): string {
  if (row.kind === 'use' || row.kind === 'use.intended') {
    const verb = row.kind === 'use.intended' ? 'is about to call' : refused(row) ? 'was refused' : 'called';
    return `${row.requester ?? 'somebody'} ${verb} ${row.method} ${row.authority}${row.path}`;
  }
  const what = row.credential ?? row.integration ?? row.session ?? '';
  return `${row.kind.replaceAll(/[.-]/g, ' ')}${what === '' ? '' : ` ${what}`}`;
}

/** `host:port` apart; IPv6 without its brackets. */
export function hostPort(text: string | undefined): { host: string; port: number } | undefined {
  const match = /^\[?(.*?)\]?:([0-9]{1,5})$/.exec(text ?? '');
  return match === null ? undefined : { host: match[1]!, port: Number(match[2]) };
}
