import { splitHostPattern } from '../../api/host.ts';
import type { IntegrationVerdict } from './integrationVerdict.ts';
import { rulesTie, sharedHost, subjectsOverlap } from './overlap.ts';

/** Names shown in a message; the rest is counted. */
const LOSES_TO_LIMIT = 4;

/**
 * Settles what Integrations of one namespace contend for: the older keeps the alias, and wins where both match.
 *
 * Changes the verdicts. Those that are not in force take part in nothing.
 */
export function settleConflicts(verdicts: Iterable<IntegrationVerdict>): void {
  const inForce = [...verdicts].filter(({ record }) => record !== undefined).sort(older);
  settleAliases(inForce);
  const byHost = new Map<string, IntegrationVerdict[]>();
  for (const verdict of inForce) {
    if (verdict.record === undefined) continue;
    const winners = new Set<string>();
    for (const bucket of bucketsOf(verdict)) {
      const before = byHost.get(bucket) ?? [];
      for (const other of before) {
        if (winners.size >= LOSES_TO_LIMIT) break;
        if (conflict(verdict, other)) winners.add(other.key);
      }
      before.push(verdict);
      byHost.set(bucket, before);
    }
    verdict.losesTo = [...winners];
  }
}

function settleAliases(inForce: readonly IntegrationVerdict[]): void {
  const holders = new Map<string, string>();
  for (const verdict of inForce) {
    const { alias } = verdict.object.value.spec;
    if (alias === undefined) continue;
    const id = `${namespaceOf(verdict)}/${alias}`;
    const holder = holders.get(id);
    if (holder === undefined) {
      holders.set(id, verdict.key);
      continue;
    }
    verdict.record = undefined;
    verdict.violations.set('Accepted', {
      reason: 'AliasConflict',
      message: `Integration ${holder} has the alias ${alias} already and is older; choose another alias.`,
    });
  }
}

function conflict(a: IntegrationVerdict, b: IntegrationVerdict): boolean {
  if (a === b) return false;
  const [one, other] = [a.object.value.spec, b.object.value.spec];
  // In order of cost: a folder may have thousands of Integrations for one host, one for each role.
  return (
    subjectsOverlap(one.subjects, other.subjects) &&
    sharedHost(one.hosts, other.hosts) !== undefined &&
    rulesTie(one.rules ?? [], other.rules ?? [])
  );
}

/** Where those meet that can share a host: the namespace and the name without its first label, which a wildcard would stand for. */
function bucketsOf(verdict: IntegrationVerdict): Set<string> {
  const names = verdict.object.value.spec.hosts.map((host) => splitHostPattern(host).name);
  return new Set(names.map((name) => `${namespaceOf(verdict)} ${name.slice(name.indexOf('.'))}`));
}

function namespaceOf(verdict: IntegrationVerdict): string {
  return verdict.object.value.metadata.namespace;
}

function older(a: IntegrationVerdict, b: IntegrationVerdict): number {
  return Date.parse(a.createdAt) - Date.parse(b.createdAt) || (a.key < b.key ? -1 : 1);
}
