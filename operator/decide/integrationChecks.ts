import { hostWithin } from '../../api/host.ts';
import { credentialKeyOf, type Integration } from '../../api/integration.ts';
import type { CredentialView } from './credentialVerdict.ts';
import { fieldsRead, placesWritten } from './placements.ts';
import { wildcardTooWide } from './publicSuffix.ts';
import type { Check } from './violation.ts';

export interface IntegrationContext {
  integration: Integration;
  credential: CredentialView | undefined;
}

type IntegrationCheck = Check<IntegrationContext>;

const userNotSupported: IntegrationCheck = {
  reason: 'UserNotSupported',
  condition: 'Accepted',
  violation: ({ integration: { spec } }) =>
    spec.user === undefined ? undefined : 'Per-user credentials are not available in this version; drop spec.user.',
};

const limitScopeNotSupported: IntegrationCheck = {
  reason: 'LimitScopeNotSupported',
  condition: 'Accepted',
  violation: ({ integration: { spec } }) => {
    const index = (spec.limits ?? []).findIndex(({ scope }) => scope !== 'Pod');
    return index < 0
      ? undefined
      : `spec.limits[${index}].scope ${spec.limits![index]!.scope} is not available in this version; use Pod.`;
  },
};

const placementNotSupported: IntegrationCheck = {
  reason: 'PlacementNotSupported',
  condition: 'Accepted',
  violation: ({ integration: { spec } }) => {
    const index = spec.inject.findIndex(({ awsSigV4 }) => awsSigV4 !== undefined);
    return index < 0
      ? undefined
      : `spec.inject[${index}].awsSigV4 is not available in this version; use bearer, basic, header, query or placeholder.`;
  },
};

const placementConflict: IntegrationCheck = {
  reason: 'PlacementConflict',
  condition: 'Accepted',
  violation: ({ integration: { spec } }) => {
    const seen = new Map<string, number>();
    for (const [index, placement] of spec.inject.entries()) {
      for (const place of new Set(placesWritten(placement))) {
        const first = seen.get(place);
        if (first !== undefined)
          return `spec.inject[${first}] and spec.inject[${index}] both write the ${place}; keep one of them.`;
        seen.set(place, index);
      }
    }
    return undefined;
  },
};

const aliasNeedsExactHost: IntegrationCheck = {
  reason: 'AliasNeedsExactHost',
  condition: 'Accepted',
  violation: ({ integration: { spec } }) =>
    spec.alias !== undefined && spec.hosts[0]!.startsWith('*.')
      ? `spec.alias ${spec.alias} stands for the first host, but ${spec.hosts[0]} is a wildcard; put an exact host first or drop the alias.`
      : undefined,
};

const integrationWildcardTooWide: IntegrationCheck = {
  reason: 'WildcardTooWide',
  condition: 'Accepted',
  violation: ({ integration: { spec } }) => {
    const index = spec.hosts.findIndex(wildcardTooWide);
    return index < 0
      ? undefined
      : `spec.hosts[${index}] ${spec.hosts[index]} would match hosts of strangers; a wildcard must stand under a registrable domain, such as *.example.com.`;
  },
};

const credentialDoesNotExist: IntegrationCheck = {
  reason: 'CredentialDoesNotExist',
  condition: 'ResolvedRefs',
  violation: ({ integration, credential }) =>
    credential === undefined
      ? `There is no Credential ${credentialKeyOf(integration)}; create it, or correct spec.credentialRef.`
      : undefined,
};

const credentialNotAllowed: IntegrationCheck = {
  reason: 'CredentialNotAllowed',
  condition: 'ResolvedRefs',
  violation: ({ integration, credential }) => {
    const { namespace } = integration.metadata;
    return credential === undefined || credential.allows(namespace)
      ? undefined
      : `Credential ${credentialKeyOf(integration)} does not allow namespace ${namespace}; its spec.allowedConsumers decides that.`;
  },
};

const credentialNotInForce: IntegrationCheck = {
  reason: 'CredentialNotReady',
  condition: 'ResolvedRefs',
  violation: ({ integration, credential }) =>
    credential === undefined || credential.inForce
      ? undefined
      : `Credential ${credentialKeyOf(integration)} is not in force; its conditions say why.`,
};

const hostOutsideCredential: IntegrationCheck = {
  reason: 'HostOutsideCredential',
  condition: 'Accepted',
  violation: ({ integration, credential }) => {
    // Who may not use it is told nothing of it.
    if (!credential?.allows(integration.metadata.namespace)) return undefined;
    const { hosts } = integration.spec;
    const index = hosts.findIndex((host) => !credential.hosts.some((outer) => hostWithin(host, outer)));
    return index < 0
      ? undefined
      : `spec.hosts[${index}] ${hosts[index]} is none of Credential ${credentialKeyOf(integration)}, which is for ${credential.hosts.join(', ')}; add it there or drop it here.`;
  },
};

const fieldDoesNotExist: IntegrationCheck = {
  reason: 'FieldDoesNotExist',
  condition: 'Accepted',
  violation: ({ integration, credential }) => {
    const fields = credential?.fields;
    if (fields === undefined || !credential?.allows(integration.metadata.namespace)) return undefined;
    for (const [index, placement] of integration.spec.inject.entries()) {
      if (placement.awsSigV4 !== undefined) continue;
      const missing = fieldsRead(placement).find((field) => !fields.includes(field));
      if (missing !== undefined)
        return `spec.inject[${index}] needs field ${missing}, but Credential ${credentialKeyOf(integration)} has ${fields.join(', ')}; name one of those.`;
    }
    return undefined;
  },
};

/** What can be wrong with an Integration by itself and with its Credential; conflicts with others are in conflicts.ts. */
export const INTEGRATION_CHECKS: readonly IntegrationCheck[] = [
  userNotSupported,
  limitScopeNotSupported,
  placementNotSupported,
  placementConflict,
  aliasNeedsExactHost,
  integrationWildcardTooWide,
  credentialDoesNotExist,
  credentialNotAllowed,
  credentialNotInForce,
  hostOutsideCredential,
  fieldDoesNotExist,
];
