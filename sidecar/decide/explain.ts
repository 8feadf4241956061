import type { Grant } from '../../api/grant.ts';
import { refuse } from '../errors.ts';
import { GrantTable } from '../grants/table.ts';
import { authorityText } from './authority.ts';
import { type Decision, decide } from './decide.ts';
import type { Door } from './door.ts';
import { type Located, locate } from './locate.ts';
import { LISTENER_NAMES } from './ownNames.ts';
import type { Step } from './step.ts';

export interface Explanation {
  /** In the order of the checks; the last one that is not ok says why a request is refused. */
  readonly steps: readonly Step[];
  readonly decision: Decision;
}

/**
 * What a session with these grants would get for one request, decided by what the sidecar itself decides by (data path rule 8).
 *
 * `url` is what the agent would ask for, base URLs included; nothing is looked up, dialled or counted.
 */
export function explain(grants: readonly Grant[], egress: 'Open' | 'Closed', method: string, url: string): Explanation {
  const table = GrantTable.compile(grants);
  const head = { method: method.toUpperCase(), target: withoutFragment(url), host: undefined };
  if (head.method === 'TRACE' || head.method === 'CONNECT')
    return stopped('authority', refuse('MethodRefused', `${head.method} is never forwarded`));
  const located = locate(doorOf(url, table), head, table);
  if ('kind' in located) return stopped('authority', located);
  const steps: Step[] = [{ check: 'authority', ok: true, detail: asked(located, table) }];
  const { authority } = located;
  if (authority.scheme === 'https' && egress === 'Open' && !table.covers(authority.host, authority.port)) {
    const detail = `no Integration covers ${authorityText(authority)}, so the tunnel to it is opened without a look inside`;
    return { steps: [...steps, { check: 'host', ok: true, detail }], decision: { kind: 'pass' } };
  }
  const request = { ...located, method: head.method, text: `${head.method} ${head.target}` };
  const decision = decide(table, request, egress, 0, (step) => steps.push(step));
  if (decision.kind === 'credential') {
    const { grant, credential } = decision.entry;
    const detail = `credential ${credential} is placed as ${grant.inject.map(placementText).join(' and ')}`;
    steps.push({ check: 'placement', ok: true, detail });
  }
  return { steps, decision };
}

function stopped(check: Step['check'], refusal: Extract<Decision, { kind: 'refuse' }>): Explanation {
  return { steps: [{ check, ok: false, detail: refusal.detail }], decision: refusal };
}

function withoutFragment(url: string): string {
  const hash = url.indexOf('#');
  return hash === -1 ? url : url.slice(0, hash);
}

/** No listener exists yet, so any port of this machine may be ours if the path begins with an alias. */
function doorOf(url: string, table: GrantTable): Door {
  const parsed = URL.parse(url);
  const ownPorts = new Set<number>();
  if (parsed !== null && LISTENER_NAMES.has(parsed.hostname.replace(/^\[|\]$/g, ''))) {
    if (table.alias(parsed.pathname.split('/')[1]!) !== undefined) ownPorts.add(Number(parsed.port || 80));
  }
  return { kind: 'proxy', ownPorts };
}

function asked({ authority, path, alias }: Located, table: GrantTable): string {
  const where = `${authority.scheme}://${authorityText(authority)}, path ${path}`;
  const entry = alias === undefined ? undefined : table.alias(alias);
  return entry === undefined
    ? `the request is for ${where}`
    : `alias ${alias} of Integration ${entry.integration} leads to ${where}`;
}

function placementText({ bearer, basic, header, query, awsSigV4, placeholder }: Grant['inject'][number]): string {
  if (bearer !== undefined) return 'Authorization: Bearer';
  if (basic !== undefined) return 'Authorization: Basic';
  if (header !== undefined) return `header ${header.name}`;
  if (query !== undefined) return `query parameter ${query.name}`;
  if (awsSigV4 !== undefined) return `AWS signature for ${awsSigV4.service}`;
  return `what the placeholder in ${placeholder?.in.join(', ')} stands for`;
}
