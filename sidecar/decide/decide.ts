import { type Refusal, refuse } from '../errors.ts';
import type { Entry } from '../grants/entry.ts';
import type { GrantTable } from '../grants/table.ts';
import { type Authority, authorityText } from './authority.ts';
import type { Limit } from './limits.ts';
import type { Located } from './locate.ts';
import { checkPath } from './path.ts';
import { byPlaceholder } from './placeholders.ts';
import type { Step, Trace } from './step.ts';

/** What becomes of a request: a credential by this entry, passed through without one, or refused. */
export type Decision = { readonly kind: 'credential'; readonly entry: Entry } | { readonly kind: 'pass' } | Denial;

/** A refusal, and the entry whose doing it is if it is that of one. */
export type Denial = Refusal & { readonly entry?: Entry };

export interface Request {
  readonly method: string;
  readonly authority: Authority;
  readonly path: string;
  readonly query: string;
  readonly via: Located['via'];
  /** The alias that the agent named, if it did. */
  readonly alias?: string | undefined;
  /** The head as latin1, to look for placeholders. */
  readonly text: string;
}

const PASS: Decision = { kind: 'pass' };

/**
 * Decides one request (data path rules 6, 8, 14). Pure but for the counts of limits, which a traced decision leaves alone.
 *
 * @param nowMs monotonic
 * @param trace told of every check; undefined on the hot path, which then builds no text.
 */
export function decide(
  table: GrantTable,
  request: Request,
  egress: 'Open' | 'Closed',
  nowMs: number,
  trace?: Trace,
): Decision {
  const { authority, path } = request;
  const covering = table.find(authority.host, authority.port, authority.scheme);
  trace?.(hostStep(table, covering, authority, egress));
  if (covering.length === 0 && egress === 'Closed') return refuse('NoIntegration', uncovered(table, authority));

  let candidates = byPlaceholder(table, covering, request, trace);
  if ('kind' in candidates) return candidates;
  if (covering.length === 0) return ambiguity(path, false, trace) ?? PASS;
  if (request.alias !== undefined) candidates = byAlias(candidates, request.alias, trace);
  if (authority.scheme === 'http') candidates = byPlaintext(candidates, authority, trace);
  if ('kind' in candidates) return candidates;

  const ambiguous = ambiguity(path, hasPaths(candidates), trace);
  if (ambiguous !== undefined) return ambiguous;
  const entry = candidates.length === 1 ? candidates[0]! : choose(candidates, request, trace);
  if (!entry.rules.allows(request.method, path)) {
    const reason = `Integration ${entry.integration}: ${entry.rules.why(request.method, path)}`;
    trace?.({ check: 'rules', ok: false, detail: reason });
    return { ...refuse('RuleDenied', reason), entry };
  }
  if (trace !== undefined) traceRulesAndLimits(entry, request, nowMs, trace);
  const hit = trace === undefined ? entry.limits.take(nowMs) : entry.limits.reached(nowMs);
  if (hit === undefined) return { kind: 'credential', entry };
  const refusal = refuse(
    'LimitExceeded',
    `Integration ${entry.integration} allows ${limitText(hit.limit)}; the next is allowed in ${hit.retryAfterSeconds} s`,
    hit.retryAfterSeconds,
  );
  return { ...refusal, entry };
}

/** Whether the Integration of `entry`, as the table has it now, would give the request the same credential; limits aside. */
export function stillAllows(
  table: GrantTable,
  { credential, integration }: Entry,
  { authority, method, path }: Pick<Request, 'authority' | 'method' | 'path'>,
): boolean {
  const { host, port, scheme } = authority;
  const now = table
    .find(host, port, scheme)
    .find((entry) => entry.integration === integration && entry.credential === credential);
  if (now === undefined || (scheme === 'http' && !now.grant.allowPlaintext)) return false;
  return now.rules.allows(method, path);
}

/** An agent that names an Integration by its alias means that one, unless its placeholder says otherwise. */
function byAlias(candidates: readonly Entry[], alias: string, trace: Trace | undefined): readonly Entry[] {
  const named = candidates.filter((entry) => entry.grant.alias === alias).slice(0, 1);
  if (named.length === 0) return candidates;
  trace?.({ check: 'alias', ok: true, detail: `the alias ${alias} names Integration ${named[0]!.integration}` });
  return named;
}

function byPlaintext(
  candidates: readonly Entry[],
  authority: Authority,
  trace: Trace | undefined,
): readonly Entry[] | Refusal {
  const willing = candidates.filter((entry) => entry.grant.allowPlaintext);
  if (willing.length > 0) {
    trace?.({ check: 'plaintext', ok: true, detail: `Integration ${names(willing)} allows plain http` });
    return willing;
  }
  const detail = `Integration ${names(candidates)} covers http://${authorityText(authority)}, but lets no credential travel over plain http; use https, or set allowPlaintext`;
  trace?.({ check: 'plaintext', ok: false, detail });
  return refuse('PlaintextRefused', detail);
}

function ambiguity(path: string, pathRules: boolean, trace: Trace | undefined): Refusal | undefined {
  const refusal = checkPath(path, pathRules);
  trace?.({
    check: 'path',
    ok: refusal === undefined,
    detail: refusal?.detail ?? 'the path means the same to every reader',
  });
  return refusal;
}

function hasPaths(candidates: readonly Entry[]): boolean {
  for (const entry of candidates) if (entry.rules.hasPaths) return true;
  return false;
}

/** Of those that allow the request the one with the most specific path; the list is sorted by age and name already. */
function choose(candidates: readonly Entry[], { method, path }: Request, trace: Trace | undefined): Entry {
  let best: Entry | undefined;
  let most = -1;
  let allowing = 0;
  for (const entry of candidates) {
    if (!entry.rules.allows(method, path)) continue;
    allowing += 1;
    const specificity = entry.rules.specificity(method, path);
    if (specificity <= most) continue;
    best = entry;
    most = specificity;
  }
  trace?.(choiceStep(candidates, best, allowing, most));
  return best ?? candidates[0]!;
}

function choiceStep(candidates: readonly Entry[], best: Entry | undefined, allowing: number, most: number): Step {
  if (best === undefined)
    return { check: 'choice', ok: false, detail: `none of ${names(candidates)} allows the request` };
  const how =
    allowing === 1
      ? 'alone allows the request'
      : most > 0
        ? 'allows the request by the most specific path'
        : 'is the oldest that allows the request, or the first by name';
  return { check: 'choice', ok: true, detail: `of ${names(candidates)}, ${best.integration} ${how}` };
}

function hostStep(
  table: GrantTable,
  covering: readonly Entry[],
  authority: Authority,
  egress: 'Open' | 'Closed',
): Step {
  if (covering.length > 0) {
    const verb = covering.length === 1 ? 'Integration' : 'Integrations';
    return {
      check: 'host',
      ok: true,
      detail: `${verb} ${names(covering)} ${covering.length === 1 ? 'covers' : 'cover'} ${authorityText(authority)}`,
    };
  }
  const outcome = egress === 'Open' ? 'it passes without a credential' : 'egress is closed';
  return { check: 'host', ok: egress === 'Open', detail: `${uncovered(table, authority)} (${outcome})` };
}

/** Says what is nearly right, as a port or scheme is easily wrong. */
function uncovered(table: GrantTable, { scheme, host, port }: Authority): string {
  const none = `no Integration of this session covers ${scheme}://${authorityText({ host, port })}`;
  const near = table.entries.find(({ hosts }) =>
    hosts.some(({ name, wildcard }) => (wildcard ? host.endsWith(`.${name}`) : host === name)),
  );
  return near === undefined ? none : `${none}; ${near.integration} covers ${near.grant.hosts.join(', ')}`;
}

function traceRulesAndLimits(entry: Entry, request: Request, nowMs: number, trace: Trace): void {
  trace({
    check: 'rules',
    ok: true,
    detail: `Integration ${entry.integration}: ${entry.rules.why(request.method, request.path)}`,
  });
  for (const { limit, count } of entry.limits.used(nowMs))
    trace({ check: 'limit', ok: count < limit.requests, detail: `${count} of ${limitText(limit)} used` });
}

function limitText({ requests, windowSeconds }: Limit): string {
  return `${requests} ${requests === 1 ? 'request' : 'requests'} in ${windowSeconds} s`;
}

function names(entries: readonly Entry[]): string {
  return entries.map((entry) => entry.integration).join(', ');
}
