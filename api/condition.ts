/** What a condition says of an object (metav1.Condition). */
export interface Condition {
  type: ConditionType;
  status: 'True' | 'False' | 'Unknown';
  reason: ConditionReason;
  /** One or two sentences: what is wrong and what to do next. */
  message: string;
  observedGeneration?: number;
  /** RFC 3339; changes only when `status` does. */
  lastTransitionTime?: string;
}

export type ConditionType =
  | 'Ready'
  | 'SourceResolved'
  | 'Stored'
  | 'Accepted'
  | 'ResolvedRefs'
  | 'Programmed'
  | 'HostConflict';

/** Every reason a condition can carry, with what a person does about it; docs/conditions.md lists the same, by test. */
export const CONDITION_REASONS = {
  Ready: 'Everything this object needs is in force.',
  SourceResolved: 'The source was read.',
  Stored: 'The store holds the material, encrypted.',
  Accepted: 'The object is valid and in force as written.',
  ResolvedRefs: 'Everything this object refers to exists and may be used.',
  Programmed: 'Sidecars of matching sessions have it.',
  Invalid:
    'The stored object is not valid for this version of Sidekey; correct what the message names. What was last good stays in force.',
  SourceNotSupported: 'This source is not available in this version; use secret, store or generated.',
  SecretDoesNotExist: 'Create the Secret that the Credential names, in the same namespace.',
  SecretForbidden: 'The operator may not read Secrets in this namespace; the message has the command that lets it.',
  SecretPending: 'Secrets of the namespace are being read; this passes by itself.',
  SecretKeyDoesNotExist: 'Add the key to the Secret, or name one that it has.',
  MaterialMissing: 'Give the value with `sidekey credential set NAME`.',
  MaterialExpired: 'The version in force is older than maxLifetime and is not leased any more; give it a new value.',
  UsesExhausted: 'The version in force was leased as often as maxUses allows; give it a new value.',
  InvalidMaterial: 'The value cannot be placed: it is empty, too long or has control bytes such as a line break.',
  DeliveryNotSupported: 'Gateway delivery is not available in this version; use Sidecar.',
  WildcardTooWide: 'A wildcard must stand under a registrable domain, such as *.example.com.',
  CredentialDoesNotExist: 'Create the Credential that the Integration names, or correct credentialRef.',
  CredentialNotAllowed: 'The Credential is in another namespace and does not allow this one; set its allowedConsumers.',
  CredentialNotReady: 'The Integration takes effect as soon as its Credential is Ready; see that one.',
  HostOutsideCredential: 'Every host of an Integration must be one of its Credential; add it there or drop it here.',
  FieldDoesNotExist: 'A placement names a field that the material does not have.',
  PlacementNotSupported: 'This placement is not available in this version.',
  PlacementConflict: 'Two placements of the Integration write the same header or query parameter; keep one.',
  LimitScopeNotSupported: 'Only limits with scope Pod are available in this version.',
  UserNotSupported: 'Per-user credentials are not available in this version; drop user.',
  AliasNeedsExactHost: 'An alias stands for the first host, which must then be no wildcard.',
  AliasConflict: 'Another Integration in this namespace has the alias; the older one keeps it.',
  OlderIntegrationWins:
    'Another Integration covers the same host and wins where both would match; narrow hosts, paths or subjects.',
  NoConflict: 'No other Integration covers the same hosts for the same subjects.',
  StoreUnavailable: 'The store did not take the change; it is tried again until it does.',
  Pending: 'Not decided yet.',
} as const;

export type ConditionReason = keyof typeof CONDITION_REASONS;

/** The status subresource of both kinds. */
export interface ObjectStatus {
  observedGeneration?: number;
  conditions: Condition[];
  /** Credential only: kind of source, version in force, when it expires (RFC 3339). */
  source?: string;
  version?: number;
  expirationTime?: string;
  /** Credential only: what an agent uses in the credential's stead. */
  placeholder?: string;
}
