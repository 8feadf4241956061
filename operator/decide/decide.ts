import { credentialKeyOf } from '../../api/integration.ts';
import type { StatusFile } from '../../api/statusFile.ts';
import { credentialStatus, integrationStatus, invalidStatus, isReady } from './conditions.ts';
import { settleConflicts } from './conflicts.ts';
import { type CredentialView, judgeCredential, viewOf, viewOfHeld } from './credentialVerdict.ts';
import type { DecideInput } from './input.ts';
import { type IntegrationVerdict, judgeIntegration } from './integrationVerdict.ts';
import { isUnread, type Plan, planOf } from './plan.ts';

export interface Decision {
  plan: Plan;
  /** Of every object, by kind and key. */
  statuses: StatusFile['objects'];
  /** RFC 3339, by key: what to give as `firstSeen` next time. */
  createdAt: Map<string, string>;
}

/** What should be in the store, what is missing for that, and what to say of each object. Pure. */
export function decide(input: DecideInput): Decision {
  const { source } = input;
  const credentials = [...source.credentials.values()].map((object) => judgeCredential(object, input));
  const views = new Map<string, CredentialView>(
    credentials.map((verdict) => [verdict.key, viewOf(verdict, source.namespaces)]),
  );
  for (const [key, held] of input.held.credentials)
    if (!views.has(key) && isUnread(`Credential ${key}`, input)) views.set(key, viewOfHeld(held));

  const integrations = [...source.integrations.values()].map((object) =>
    judgeIntegration(object, views.get(credentialKeyOf(object.value)), input),
  );
  settleConflicts(integrations);

  const ready = new Set<string>();
  const statuses: StatusFile['objects'] = [];
  for (const verdict of credentials) {
    const status = credentialStatus(verdict, input);
    if (isReady(status)) ready.add(verdict.key);
    statuses.push({ kind: 'Credential', key: verdict.key, file: verdict.object.file, status });
  }
  // One that is unread was last good, and its material is what the store has.
  for (const [key, held] of input.held.credentials)
    if (!source.credentials.has(key) && views.has(key) && held.version > 0) ready.add(key);
  for (const verdict of integrations) statuses.push(integrationEntry(verdict, ready, input));
  showInvalid(statuses, input);
  statuses.sort((a, b) => compare(a.kind, b.kind) || compare(a.key, b.key));
  return {
    plan: planOf(credentials, integrations, input),
    statuses,
    createdAt: new Map(integrations.map(({ key, createdAt }) => [key, createdAt])),
  };
}

function integrationEntry(
  verdict: IntegrationVerdict,
  ready: ReadonlySet<string>,
  input: DecideInput,
): StatusFile['objects'][number] {
  const { credentialKey, key, object } = verdict;
  return {
    kind: 'Integration',
    key,
    file: object.file,
    status: integrationStatus(verdict, ready.has(credentialKey), input),
    hosts: object.value.spec.hosts,
    credential: credentialKey,
  };
}

/** An object that is not valid says so, whatever holds of what was last good of it. */
function showInvalid(statuses: StatusFile['objects'], input: DecideInput): void {
  if (input.source.invalid.size === 0) return;
  const byId = new Map(statuses.map((entry) => [`${entry.kind} ${entry.key}`, entry]));
  for (const [id, invalid] of input.source.invalid) {
    const entry = byId.get(id);
    const status = invalidStatus(invalid, entry?.status, input);
    if (entry !== undefined) entry.status = status;
    else statuses.push({ kind: invalid.kind, key: invalid.key, file: invalid.file, status });
  }
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
