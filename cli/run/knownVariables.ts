import type { Grant } from '../../api/grant.ts';
import { hostWithin } from '../../api/host.ts';
import { PLACEHOLDER_MARK } from '../../api/placeholder.ts';
import { variableWord } from '../../lib/agent/variableWord.ts';
import { looksLike, PROVIDERS, type Provider, type ProviderKey } from '../providers.ts';

export interface KnownVariables {
  /** What the agent gets: well-known variables of granted credentials, and `SIDEKEY_CREDENTIAL_<NAME>` for each. */
  set: Record<string, string>;
  /** Variables of the user's that hold what looks like a real key for a covered host. */
  exposed: { name: string; host: string; placeholder: string }[];
}

/** Shorter values are switches and dummies, not keys worth a warning. */
const KEY_LENGTH = 12;

/** Which variables carry placeholders, and which of the user's own carry real keys for hosts that the grants cover. */
export function knownVariables(grants: readonly Grant[], env: NodeJS.ProcessEnv): KnownVariables {
  const set: Record<string, string> = {};
  const exposed: KnownVariables['exposed'] = [];
  for (const grant of grants) set[`SIDEKEY_CREDENTIAL_${variableWord(nameOf(grant.credential))}`] ??= grant.placeholder;
  for (const provider of PROVIDERS) {
    const grant = grants.find((one) => coveredHost(one, provider) !== undefined);
    if (grant === undefined) continue;
    const host = coveredHost(grant, provider)!;
    for (const key of provider.keys) {
      const first = key.variables[0]!;
      if (!env[first]) set[first] ??= grant.placeholder;
      for (const [name, value] of Object.entries(env)) {
        if (value === undefined || value.includes(PLACEHOLDER_MARK) || !holds(key, name, value)) continue;
        if (exposed.some((one) => one.name === name)) continue;
        exposed.push({ name, host, placeholder: grant.placeholder });
      }
    }
  }
  return { set, exposed };
}

function holds(key: ProviderKey, name: string, value: string): boolean {
  return (key.variables.includes(name) && value.length >= KEY_LENGTH) || looksLike(key, value);
}

function coveredHost(grant: Grant, provider: Provider): string | undefined {
  return provider.hosts.find((host) => grant.hosts.some((pattern) => hostWithin(host, pattern)));
}

export function nameOf(key: string): string {
  return key.slice(key.indexOf('/') + 1);
}
