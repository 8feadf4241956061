import { type Credential, sourceKind } from '../../api/credential.ts';
import { MATERIAL_LIMIT_BYTES } from '../../api/fields.ts';
import type { SecretValue, UnreadableSecret } from '../source/objectSource.ts';
import type { HeldCredential } from './held.ts';
import { materialProblem } from './materialProblem.ts';
import { wildcardTooWide } from './publicSuffix.ts';
import { fieldsOf } from './secretFields.ts';
import type { Check } from './violation.ts';

const SUPPORTED_SOURCES = ['secret', 'store', 'generated'] as const;
type SupportedSource = (typeof SUPPORTED_SOURCES)[number];

export function isSupported(kind: string): kind is SupportedSource {
  return (SUPPORTED_SOURCES as readonly string[]).includes(kind);
}

export interface CredentialContext {
  credential: Credential;
  /** The Secret that it names, if there is one. */
  secret: SecretValue | undefined;
  /** Why that cannot be told. */
  unreadable: UnreadableSecret | undefined;
  held: HeldCredential | undefined;
}

const deliveryNotSupported: Check<CredentialContext> = {
  reason: 'DeliveryNotSupported',
  condition: 'Stored',
  violation: ({ credential: { spec } }) =>
    spec.delivery === 'Sidecar'
      ? undefined
      : `spec.delivery ${spec.delivery} is not available in this version; use Sidecar.`,
};

const credentialWildcardTooWide: Check<CredentialContext> = {
  reason: 'WildcardTooWide',
  condition: 'Stored',
  violation: ({ credential: { spec } }) => {
    const index = spec.hosts.findIndex(wildcardTooWide);
    return index < 0
      ? undefined
      : `spec.hosts[${index}] ${spec.hosts[index]} would match hosts of strangers, because anybody can register a name there; ` +
          'a wildcard must stand under a registrable domain, such as *.example.com.';
  },
};

const sourceNotSupported: Check<CredentialContext> = {
  reason: 'SourceNotSupported',
  condition: 'SourceResolved',
  violation: ({ credential: { spec } }) => {
    const kind = sourceKind(spec.source);
    return isSupported(kind)
      ? undefined
      : `spec.source.${kind} is not available in this version; use ${SUPPORTED_SOURCES.join(', ')}.`;
  },
};

const secretForbidden: Check<CredentialContext> = {
  reason: 'SecretForbidden',
  condition: 'SourceResolved',
  violation: ({ unreadable }) => (unreadable?.reason === 'SecretForbidden' ? unreadable.message : undefined),
};

const secretPending: Check<CredentialContext> = {
  reason: 'SecretPending',
  condition: 'SourceResolved',
  violation: ({ secret, unreadable }) =>
    secret === undefined && unreadable?.reason === 'SecretPending' ? unreadable.message : undefined,
};

const secretDoesNotExist: Check<CredentialContext> = {
  reason: 'SecretDoesNotExist',
  condition: 'SourceResolved',
  violation: ({ credential, secret }) => {
    const source = credential.spec.source.secret;
    return source === undefined || secret !== undefined
      ? undefined
      : `There is no Secret ${source.name} in namespace ${credential.metadata.namespace}; create it, or correct spec.source.secret.name.`;
  },
};

const secretKeyDoesNotExist: Check<CredentialContext> = {
  reason: 'SecretKeyDoesNotExist',
  condition: 'SourceResolved',
  violation: ({ credential, secret }) => {
    const source = credential.spec.source.secret;
    if (source === undefined || secret === undefined) return undefined;
    const missing = [...fieldsOf(source).values()].find((key) => !secret.digests.has(key));
    const known = [...secret.digests.keys()].sort();
    return missing === undefined
      ? undefined
      : `Secret ${source.name} has no key ${missing}; ${known.length === 0 ? 'it is empty' : `it has ${known.slice(0, 8).join(', ')}`}.`;
  },
};

const invalidMaterial: Check<CredentialContext> = {
  reason: 'InvalidMaterial',
  condition: 'SourceResolved',
  violation: ({ credential, secret, held }) => {
    const source = credential.spec.source.secret;
    if (source === undefined || secret === undefined) return undefined;
    const problem = problemOfSecret(source, secret);
    if (problem === undefined) return undefined;
    const stays =
      held !== undefined && held.record.source === 'secret' && held.version > 0
        ? ` Version ${held.version} stays in force until then.`
        : '';
    return `${problem}.${stays}`;
  },
};

const materialMissing: Check<CredentialContext> = {
  reason: 'MaterialMissing',
  condition: 'SourceResolved',
  violation: ({ credential: { metadata, spec }, held }) => {
    if (spec.source.store === undefined || (held?.record.source === 'store' && held.version > 0)) return undefined;
    const namespace = metadata.namespace === 'default' ? '' : ` --namespace ${metadata.namespace}`;
    return `No value was given yet; run: sidekey credential set ${metadata.name}${namespace}`;
  },
};

/** What can be wrong with a Credential, in order of what a person would repair first. */
export const CREDENTIAL_CHECKS: readonly Check<CredentialContext>[] = [
  deliveryNotSupported,
  credentialWildcardTooWide,
  sourceNotSupported,
  secretForbidden,
  secretPending,
  secretDoesNotExist,
  secretKeyDoesNotExist,
  invalidMaterial,
  materialMissing,
];

function problemOfSecret(source: { name: string } & Parameters<typeof fieldsOf>[0], secret: SecretValue) {
  let frameBytes = 0;
  for (const [field, key] of fieldsOf(source)) {
    const bytes = secret.material.bytes(key);
    if (bytes === undefined) continue;
    const problem = materialProblem(bytes);
    if (problem !== undefined) return `The value of key ${key} of Secret ${source.name} ${problem}`;
    frameBytes += 1 + field.length + 4 + bytes.length;
  }
  return frameBytes > MATERIAL_LIMIT_BYTES
    ? `The values of Secret ${source.name} have more than ${MATERIAL_LIMIT_BYTES} bytes together; name fewer fields`
    : undefined;
}
