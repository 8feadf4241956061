import type { Grant } from '../../api/grant.ts';
import type { Authority } from '../decide/authority.ts';
import { type HostPattern, parseHostPattern } from '../decide/hostPattern.ts';
import { LimitCounter } from '../decide/limits.ts';
import { type CompiledRules, compileRules } from '../decide/rules.ts';
import { Plan } from '../place/plan.ts';
import { AllowedNetworks } from '../upstream/allowedNetworks.ts';

/** One grant made ready for the hot path: nothing of it is parsed again per request. */
export interface Entry {
  readonly grant: Grant;
  /** `namespace/name` */
  readonly integration: string;
  /** `namespace/name` */
  readonly credential: string;
  /** Milliseconds since 1970; RFC 3339 times may differ in their digits and zones, so they are compared as times. */
  readonly createdAtMs: number;
  readonly hosts: readonly HostPattern[];
  readonly rules: CompiledRules;
  readonly networks: AllowedNetworks;
  readonly plan: Plan;
  /** Where the alias leads: the first host that is no wildcard. */
  readonly primary: Authority | undefined;
  readonly limits: LimitCounter;
}

/** Compiles a grant that the store has validated; one that has not changed stays the very same object, its counts and all. */
export function compileEntry(grant: Grant, previous?: Entry): Entry {
  if (previous !== undefined && sameGrant(previous.grant, grant)) return previous;
  const hosts = grant.hosts.map(parseHostPattern);
  return {
    grant,
    integration: grant.integration,
    credential: grant.credential,
    createdAtMs: Date.parse(grant.createdAt),
    hosts,
    rules: compileRules(grant.rules),
    networks: new AllowedNetworks(grant.allowedNetworks),
    plan: Plan.compile(grant),
    primary: primaryOf(hosts, grant.allowPlaintext),
    limits: new LimitCounter(grant.limits, previous?.limits),
  };
}

/** Mostly the very same object; after a new snapshot equal ones. */
function sameGrant(a: Grant, b: Grant): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

function primaryOf(hosts: readonly HostPattern[], allowPlaintext: boolean): Authority | undefined {
  const first = hosts.find((host) => !host.wildcard);
  if (first === undefined) return undefined;
  // Nobody speaks TLS on port 80; where the Integration lets the credential travel there, it travels in plain http.
  if (first.port === 80 && allowPlaintext) return { scheme: 'http', host: first.name, port: 80 };
  return { scheme: 'https', host: first.name, port: first.port ?? 443 };
}
