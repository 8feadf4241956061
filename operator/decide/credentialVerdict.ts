import type { ConditionType } from '../../api/condition.ts';
import type { Credential } from '../../api/credential.ts';
import { sourceKind } from '../../api/credential.ts';
import { durationSeconds } from '../../api/duration.ts';
import { DEFAULT_FIELD } from '../../api/fields.ts';
import type { Integration } from '../../api/integration.ts';
import { credentialKeyOf } from '../../api/integration.ts';
import { placeholderOf } from '../../api/placeholder.ts';
import type { CredentialRecord } from '../../api/protocol.ts';
import type { SecretValue, SourceObject } from '../source/objectSource.ts';
import { CREDENTIAL_CHECKS, isSupported } from './credentialChecks.ts';
import type { HeldCredential } from './held.ts';
import type { DecideInput } from './input.ts';
import { fieldsOf } from './secretFields.ts';
import { firstViolations, type Violation } from './violation.ts';

/** The bytes that the store should hold. */
export interface WantedMaterial {
  secret: SecretValue;
  /** Field of the material → key of the Secret. */
  fields: ReadonlyMap<string, string>;
  /** Changes with the fields and their bytes. */
  digest: string;
}

/** All that follows from one Credential, before anything is written. */
export interface CredentialVerdict {
  key: string;
  object: SourceObject<Credential>;
  held: HeldCredential | undefined;
  violations: Map<ConditionType, Violation>;
  /** Undefined: it is not to be in force. */
  record: CredentialRecord | undefined;
  material: WantedMaterial | undefined;
  /** The material in the store came from a Secret that is gone, so it must go too. */
  dropMaterial: boolean;
  placeholder: string;
}

/** What an Integration needs to know of its Credential. */
export interface CredentialView {
  hosts: readonly string[];
  inForce: boolean;
  placeholder: string;
  /** Undefined while that is not known (no material yet). */
  fields: readonly string[] | undefined;
  allows(namespace: string): boolean;
}

export function judgeCredential(object: SourceObject<Credential>, input: DecideInput): CredentialVerdict {
  const { held, source } = input;
  const { key, value: credential } = object;
  const { namespace } = credential.metadata;
  const secretSource = credential.spec.source.secret;
  const secretKey = secretSource && `${namespace}/${secretSource.name}`;
  const secret = secretKey === undefined ? undefined : source.secrets.get(secretKey)?.value;
  const heldCredential = held.credentials.get(key);
  const unreadable = secretKey === undefined ? undefined : source.unreadableSecrets.get(secretKey);
  const violations = firstViolations(CREDENTIAL_CHECKS, { credential, secret, unreadable, held: heldCredential });
  const resolved = violations.get('SourceResolved');
  const kind = sourceKind(credential.spec.source);
  const inForce = isSupported(kind) && !violations.has('Stored');
  return {
    key,
    object,
    held: heldCredential,
    violations,
    record: inForce ? recordOf(credential, kind, consumersOf(object, input)) : undefined,
    material:
      secretSource !== undefined && secret !== undefined && resolved === undefined
        ? wantedMaterial(secret, fieldsOf(secretSource))
        : undefined,
    dropMaterial:
      inForce &&
      heldCredential?.record.source === 'secret' &&
      heldCredential.version > 0 &&
      (resolved?.reason === 'SecretKeyDoesNotExist' ||
        (resolved?.reason === 'SecretDoesNotExist' &&
          !source.unread.anything &&
          !source.unread.objects.has(`Secret ${secretKey}`))),
    placeholder: placeholderOf({ key, hosts: credential.spec.hosts }),
  };
}

/** A Credential that this process could read. */
export function viewOf(verdict: CredentialVerdict, namespaces: DecideInput['source']['namespaces']): CredentialView {
  const { value: credential } = verdict.object;
  return {
    hosts: credential.spec.hosts,
    inForce: verdict.record !== undefined,
    placeholder: verdict.placeholder,
    fields: fieldNames(credential, verdict.held),
    allows: (namespace) =>
      namespace === credential.metadata.namespace || allowsOther(credential, namespaces.get(namespace) ?? {}),
  };
}

/** A Credential that could not be read yet: the store's record of it is what was last good. */
export function viewOfHeld(held: HeldCredential): CredentialView {
  const { key, record, fields, version } = held;
  return {
    hosts: record.hosts,
    inForce: true,
    placeholder: placeholderOf({ key, hosts: record.hosts }),
    fields: version > 0 ? fields : undefined,
    allows: (namespace) =>
      key.startsWith(`${namespace}/`) ||
      record.consumerNamespaces.includes('*') ||
      record.consumerNamespaces.includes(namespace),
  };
}

function recordOf(
  credential: Credential,
  source: CredentialRecord['source'],
  consumerNamespaces: string[],
): CredentialRecord {
  const { generated } = credential.spec.source;
  return {
    hosts: credential.spec.hosts,
    leaseSeconds: durationSeconds(credential.spec.leaseDuration),
    consumerNamespaces,
    ...(credential.spec.maxUses !== undefined && { maxUses: credential.spec.maxUses }),
    ...(credential.spec.maxLifetime !== undefined && {
      maxLifetimeSeconds: durationSeconds(credential.spec.maxLifetime),
    }),
    ...(credential.spec.audit === 'Strict' && { auditStrict: true }),
    source,
    ...(generated !== undefined && {
      generated: {
        bytes: generated.bytes,
        encoding: generated.encoding,
        ...(generated.rotateEvery !== undefined && { rotateSeconds: durationSeconds(generated.rotateEvery) }),
        ...(generated.overlap !== undefined && { overlapSeconds: durationSeconds(generated.overlap) }),
      },
    }),
  };
}

/** Other namespaces that may use it: those that do (an Integration of theirs names it) and are allowed; `*` for all. */
function consumersOf({ key, value: credential }: SourceObject<Credential>, { source }: DecideInput): string[] {
  const { namespaces } = credential.spec.allowedConsumers;
  if (namespaces?.from === 'All') return ['*'];
  if (namespaces?.from !== 'Selector') return [];
  const using = new Set<string>();
  for (const { value } of source.integrations.values()) if (uses(value, key)) using.add(value.metadata.namespace);
  using.delete(credential.metadata.namespace);
  return [...using].filter((name) => allowsOther(credential, source.namespaces.get(name) ?? {})).sort();
}

function uses(integration: Integration, credentialKey: string): boolean {
  return credentialKeyOf(integration) === credentialKey;
}

function allowsOther(credential: Credential, labels: Readonly<Record<string, string>>): boolean {
  const { from = 'Same', selector } = credential.spec.allowedConsumers.namespaces ?? {};
  if (from !== 'Selector') return from === 'All';
  return Object.entries(selector?.matchLabels ?? {}).every(
    ([name, value]) => Object.hasOwn(labels, name) && labels[name] === value,
  );
}

function wantedMaterial(secret: SecretValue, fields: ReadonlyMap<string, string>): WantedMaterial {
  return { secret, fields, digest: [...fields].map(([field, key]) => `${field}=${secret.digests.get(key)}`).join(',') };
}

function fieldNames(credential: Credential, held: HeldCredential | undefined): readonly string[] | undefined {
  const { secret, store } = credential.spec.source;
  if (secret !== undefined) return [...fieldsOf(secret).keys()];
  if (store === undefined) return [DEFAULT_FIELD];
  return held?.record.source === 'store' && held.version > 0 ? held.fields : undefined;
}
