import type { ConditionType } from '../../api/condition.ts';
import { durationSeconds } from '../../api/duration.ts';
import { credentialKeyOf, type Integration } from '../../api/integration.ts';
import type { IntegrationRecord } from '../../api/protocol.ts';
import type { SourceObject } from '../source/objectSource.ts';
import type { CredentialView } from './credentialVerdict.ts';
import type { DecideInput } from './input.ts';
import { INTEGRATION_CHECKS } from './integrationChecks.ts';
import { firstViolations, type Violation } from './violation.ts';

/** All that follows from one Integration and its Credential, before anything is written. */
export interface IntegrationVerdict {
  key: string;
  object: SourceObject<Integration>;
  credentialKey: string;
  /** RFC 3339; the older one wins conflicts. */
  createdAt: string;
  violations: Map<ConditionType, Violation>;
  /** Undefined: it is not to be in force. */
  record: IntegrationRecord | undefined;
  /** Of the Integrations that win where both match; empty if none does. */
  losesTo: string[];
}

export function judgeIntegration(
  object: SourceObject<Integration>,
  credential: CredentialView | undefined,
  input: DecideInput,
): IntegrationVerdict {
  const { key, value: integration } = object;
  const createdAt =
    integration.metadata.creationTimestamp ??
    input.held.integrations.get(key)?.createdAt ??
    input.firstSeen.get(key) ??
    input.now.toISOString();
  const violations = firstViolations(INTEGRATION_CHECKS, { integration, credential });
  return {
    key,
    object,
    credentialKey: credentialKeyOf(integration),
    createdAt,
    violations,
    record:
      violations.size === 0 && credential !== undefined
        ? recordOf(integration, createdAt, credential.placeholder)
        : undefined,
    losesTo: [],
  };
}

function recordOf(integration: Integration, createdAt: string, placeholder: string): IntegrationRecord {
  const { alias, allowedNetworks, allowPlaintext, hosts, inject, limits, rules, subjects } = integration.spec;
  return {
    createdAt,
    credential: credentialKeyOf(integration),
    hosts,
    ...(alias !== undefined && { alias }),
    inject,
    rules: rules ?? [],
    limits: (limits ?? []).map(({ requests, window }) => ({ requests, windowSeconds: durationSeconds(window) })),
    placeholder,
    allowedNetworks: allowedNetworks ?? [],
    allowPlaintext,
    subjects,
  };
}
