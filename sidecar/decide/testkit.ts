import type { Grant } from '../../api/grant.ts';
import { placeholderOf } from '../../api/placeholder.ts';
import { GrantTable } from '../grants/table.ts';
import { type Authority, parseHostPort } from './authority.ts';
import { type Decision, decide, type Request } from './decide.ts';
import type { Addressed } from './locate.ts';
import type { Step } from './step.ts';

/** A grant of api.openai.com by bearer, to be changed at will; its placeholder follows its credential. */
export function grant(changes: Partial<Grant> = {}): Grant {
  const { credential = 'default/key', hosts = ['api.openai.com'] } = changes;
  return {
    integration: 'default/example',
    createdAt: '2026-01-01T00:00:00Z',
    credential,
    hosts,
    inject: [{ bearer: {} }],
    rules: [],
    limits: [],
    placeholder: placeholderOf({ key: credential, hosts }),
    allowedNetworks: [],
    allowPlaintext: false,
    ...changes,
  };
}

export function tableOf(...changes: Partial<Grant>[]): GrantTable {
  return GrantTable.compile(changes.map(grant));
}

/** The authority of `https://host[:port]` or `http://…`. */
export function authority(url: string): Authority {
  const scheme = url.startsWith('https://') ? 'https' : 'http';
  const named = parseHostPort(url.slice(scheme.length + 3), scheme === 'https' ? 443 : 80);
  if (named === undefined) throw new RangeError(`no authority: ${url}`);
  return { scheme, ...named };
}

/** What locate() looks at of `GET target` with a Host. */
export function head(target: string, host: string | undefined, method = 'GET'): Addressed {
  return { method, target, host };
}

/** A request as locate() would give it to decide(), to https://api.openai.com/v1/models if nothing else is said. */
export function request(changes: Partial<Omit<Request, 'authority'>> & { to?: string } = {}): Request {
  const { to = 'https://api.openai.com', ...rest } = changes;
  return {
    method: 'GET',
    authority: authority(to),
    path: '/v1/models',
    query: '',
    via: 'tunnel',
    alias: undefined,
    text: '',
    ...rest,
  };
}

/** `credential default/example`, `pass` or `refuse RuleDenied`. */
export function outcome(decision: Decision): string {
  if (decision.kind === 'credential') return `credential ${decision.entry.integration}`;
  return decision.kind === 'pass' ? 'pass' : `refuse ${decision.code}`;
}

export function decided(
  table: GrantTable,
  changes: Parameters<typeof request>[0] = {},
  egress: 'Open' | 'Closed' = 'Open',
) {
  return outcome(decide(table, request(changes), egress, 0));
}

/** The steps of a traced decision. */
export function traced(table: GrantTable, changes: Parameters<typeof request>[0] = {}): Step[] {
  const steps: Step[] = [];
  decide(table, request(changes), 'Open', 0, (step) => steps.push(step));
  return steps;
}
