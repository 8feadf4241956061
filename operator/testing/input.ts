import type { Credential } from '../../api/credential.ts';
import type { Integration } from '../../api/integration.ts';
import type { StoredCredential } from '../../api/protocol.ts';
import type { HeldCredential } from '../decide/held.ts';
import { againstNothing, type DecideInput } from '../decide/input.ts';
import type { Plan } from '../decide/plan.ts';
import type { SecretValue, SourceObject, SourceSnapshot } from '../source/objectSource.ts';
import { readObjects } from '../source/readObjects.ts';

export const NOW = new Date('2026-06-01T12:00:00.000Z');

/** How old material is by then, as a store tells that bounds its life. */
const AGE_SECONDS = 3_600;
/** How often each version was leased. */
const USES = 2;

/** What a decision sees when a folder holds this YAML and the store holds nothing. @throws Error if the YAML has a problem */
export function inputOf(yaml: string, changes: Partial<DecideInput> = {}): DecideInput {
  const { objects, problems } = readObjects('a.yaml', yaml);
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  const credentials = new Map<string, SourceObject<Credential>>();
  const integrations = new Map<string, SourceObject<Integration>>();
  const secrets = new Map<string, SourceObject<SecretValue>>();
  const namespaces = new Map<string, Record<string, string>>();
  for (const { key, value } of objects) {
    const common = { key, file: 'a.yaml', generation: 1 };
    namespaces.set(value.metadata.namespace, { 'kubernetes.io/metadata.name': value.metadata.namespace });
    if (value.kind === 'Secret') secrets.set(key, { ...common, value: value.secret });
    else if (value.kind === 'Credential') credentials.set(key, { ...common, value });
    else integrations.set(key, { ...common, value });
  }
  const source: SourceSnapshot = {
    credentials,
    integrations,
    secrets,
    namespaces,
    problems: [],
    unreadableSecrets: new Map(),
    invalid: new Map(),
    unread: { anything: false, objects: new Set() },
  };
  return { ...againstNothing(source, NOW), ...changes };
}

/** The same after a store took all of the plan; material of source `store` is there already if `byHand` names its fields. */
export function carriedOut(
  input: DecideInput,
  plan: Plan,
  byHand: Readonly<Record<string, string[]>> = {},
): DecideInput {
  const credentials = new Map<string, HeldCredential>(input.held.credentials);
  const integrations = new Map(input.held.integrations);
  const sent = new Map(input.sent);
  for (const key of plan.deleteIntegrations) integrations.delete(key);
  for (const key of plan.deleteCredentials) credentials.delete(key);
  for (const { key, record } of [...plan.dropMaterial, ...plan.putCredentials]) {
    const fields = record.source === 'generated' ? ['value'] : (byHand[key] ?? []);
    const stored: StoredCredential = { key, source: record.source, version: fields.length > 0 ? 1 : 0, fields };
    if (record.maxLifetimeSeconds !== undefined)
      stored.expiresAt = new Date(NOW.getTime() + (record.maxLifetimeSeconds - AGE_SECONDS) * 1000).toISOString();
    if (record.maxUses !== undefined && record.maxUses <= USES) stored.usedUp = true;
    credentials.set(key, { ...stored, record });
  }
  for (const { digest, fields, key } of plan.putMaterial) {
    const held = credentials.get(key)!;
    const version = held.version + 1;
    credentials.set(key, { ...held, version, fields: [...fields.keys()] });
    sent.set(key, { digest, version });
  }
  for (const { key, record } of plan.putIntegrations) integrations.set(key, record);
  return { ...input, held: { credentials, integrations }, sent };
}
