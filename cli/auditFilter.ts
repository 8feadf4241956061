import { parseDurationSeconds } from '../api/duration.ts';
import type { AuditFilter } from '../lib/audit/filter.ts';
import { usageError } from './errors.ts';

/** The flags of `audit query` and `audit export`, as commander gives them. */
export interface FilterFlags extends Omit<AuditFilter, 'requestId'> {
  request?: string;
}

const NAMES = [
  'kind',
  'credential',
  'integration',
  'session',
  'lease',
  'pod',
  'namespace',
  'serviceAccount',
  'role',
  'tag',
  'requester',
  'authority',
  'status',
  'refusal',
] as const;

/** @throws Usage */
export function filterOf(flags: FilterFlags, now = new Date()): AuditFilter {
  const filter: AuditFilter = {};
  for (const name of NAMES) if (flags[name] !== undefined) filter[name] = flags[name];
  if (flags.request !== undefined) filter.requestId = flags.request;
  if (flags.since !== undefined) filter.since = timeOf(flags.since, now);
  if (flags.until !== undefined) filter.until = timeOf(flags.until, now);
  if (filter.since !== undefined && filter.until !== undefined && filter.since > filter.until)
    throw usageError(`--since ${flags.since} is later than --until ${flags.until}`);
  if (filter.status !== undefined && !/^([0-9]{1,3}|[1-5]xx)$/i.test(filter.status))
    throw usageError(`--status ${filter.status} is no status`, 'such as 403 or 4xx');
  return filter;
}

/** A time as people write it, as RFC 3339 with milliseconds: itself, a date, `10:00` of today, or `15m` ago. @throws Usage */
export function timeOf(text: string, now = new Date()): string {
  const clock = /^([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?$/.exec(text);
  if (clock !== null) {
    const [, hours, minutes, seconds = '0'] = clock;
    const at = new Date(now);
    at.setHours(Number(hours), Number(minutes), Number(seconds), 0);
    return at.toISOString();
  }
  const days = /^([0-9]{1,5})d$/.exec(text);
  const ago = days === null ? parseDurationSeconds(text) : Number(days[1]) * 86_400;
  if (ago !== undefined) return new Date(now.getTime() - ago * 1000).toISOString();
  const ms = /^[0-9]{4}-[0-9]{2}-[0-9]{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms))
    throw usageError(
      `${text} is no time`,
      'such as 2026-01-31T10:00:00Z, 2026-01-31, 10:00 of today, or 15m, 24h, 7d ago',
    );
  return new Date(ms).toISOString();
}
