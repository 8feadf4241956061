import { z } from 'zod';
import { Duration, parseDurationSeconds } from './duration.ts';
import { HostPattern } from './host.ts';
import { API_VERSION, Metadata, SubdomainName, WordName } from './metadata.ts';

const SecretKey = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[-._a-zA-Z0-9]+$/, { error: 'expected a key of a Secret: letters, digits, dots, dashes, underscores' });
const SecretKeyRef = z.strictObject({ name: SubdomainName, key: SecretKey });
const FieldMap = z
  .record(WordName, SecretKey)
  .refine((map) => Object.keys(map).length >= 1 && Object.keys(map).length <= 8, { error: 'expected 1 to 8 fields' });

const SecretSource = z
  .strictObject({
    name: SubdomainName.describe('The name of the Secret.'),
    key: SecretKey.optional().describe('The key that becomes the field `value`.'),
    fields: FieldMap.optional().describe('Field name to key of the Secret.'),
  })
  .refine((source) => (source.key === undefined) !== (source.fields === undefined), {
    error: 'set either key or fields',
  });

const GeneratedSource = z
  .strictObject({
    bytes: z.int().min(16).max(128).default(32).describe('Random bytes before encoding, 16 to 128.'),
    encoding: z.enum(['Base64URL', 'Hex', 'Alphanumeric']).default('Base64URL').describe('How the bytes are spelled.'),
    rotateEvery: Duration.optional().describe('How often a new value is made.'),
    overlap: Duration.optional().describe('How long the value before stays valid, for whoever checks it.'),
  })
  .refine(
    ({ overlap, rotateEvery }) =>
      overlap === undefined ||
      (rotateEvery !== undefined && (parseDurationSeconds(overlap) ?? 0) < (parseDurationSeconds(rotateEvery) ?? 0)),
    { error: 'overlap needs rotateEvery and must be shorter' },
  );

const HttpsUrl = z.url({ protocol: /^https$/, error: 'expected an https URL' }).max(2048);

const OAuth2Source = z.strictObject({
  grant: z.enum(['ClientCredentials', 'RefreshToken', 'JWTBearer', 'TokenExchange']).default('ClientCredentials'),
  tokenURL: HttpsUrl,
  clientID: z.string().max(256),
  clientAuth: z.enum(['Basic', 'Post', 'PrivateKeyJWT']).default('Basic'),
  clientSecretRef: SecretKeyRef,
  scopes: z.array(z.string().max(256)).max(32).optional(),
  parameters: z.record(z.string(), z.string().max(1024)).optional(),
});

const Digits = z
  .string()
  .max(20)
  .regex(/^[0-9]+$/, { error: 'expected digits, in quotes' });

const GithubAppSource = z.strictObject({
  appID: Digits,
  installationID: Digits,
  privateKeyRef: SecretKeyRef,
  repositories: z.array(z.string().max(128)).max(100).optional(),
  permissions: z.record(z.string(), z.enum(['read', 'write', 'admin'])).optional(),
});

const AwsSource = z
  .strictObject({
    keysRef: z.strictObject({ name: SubdomainName }).optional(),
    assumeRole: z
      .strictObject({
        roleARN: z.string().max(512),
        sessionPolicy: z.string().max(2048).optional(),
        durationSeconds: z.int().min(900).max(43200).optional(),
      })
      .optional(),
  })
  .refine((source) => source.keysRef !== undefined || source.assumeRole !== undefined, {
    error: 'set keysRef, assumeRole or both',
  });

const VaultSource = z.strictObject({
  address: z.string().max(512),
  path: z.string().max(512),
  caBundleRef: SecretKeyRef.optional(),
  auth: z.strictObject({
    kubernetes: z
      .strictObject({ mountPath: z.string().optional(), role: z.string(), serviceAccountName: z.string() })
      .optional(),
  }),
  fields: FieldMap.optional(),
});

const PerUserSource = z.strictObject({ fields: z.array(WordName).max(8).optional() });

const sources = {
  secret: SecretSource.optional().describe('A Secret of the same namespace: one key, or several as named fields.'),
  store: z.strictObject({}).optional().describe('A value given with `sidekey credential set`.'),
  oauth2: OAuth2Source.optional().describe('Tokens of an OAuth 2.0 server. Not available yet.'),
  githubApp: GithubAppSource.optional().describe('Installation tokens of a GitHub App. Not available yet.'),
  aws: AwsSource.optional().describe('AWS keys, or those of an assumed role. Not available yet.'),
  vault: VaultSource.optional().describe('A path of a HashiCorp Vault or OpenBao server. Not available yet.'),
  generated: GeneratedSource.optional().describe('Random bytes that the store makes, and makes anew at intervals.'),
  perUser: PerUserSource.optional().describe('A value per end user. Not available yet.'),
};

export type SourceKind = keyof typeof sources;
export const SOURCE_KINDS = Object.keys(sources) as SourceKind[];

/** Where the material comes from: exactly one slot is set (optional slots, not a tagged union: structural CRD schemas need it). */
export const Source = z
  .strictObject(sources)
  .refine((source) => Object.values(source).filter((slot) => slot !== undefined).length === 1, {
    error: `expected exactly one source of ${SOURCE_KINDS.join(', ')}`,
  });
export type Source = z.infer<typeof Source>;

export function sourceKind(source: Source): SourceKind {
  return SOURCE_KINDS.find((kind) => source[kind] !== undefined)!;
}

const AllowedConsumers = z.strictObject({
  namespaces: z
    .strictObject({
      from: z
        .enum(['Same', 'Selector', 'All'])
        .default('Same')
        .describe('Its own namespace only, those that the selector matches, or all.'),
      selector: z.strictObject({ matchLabels: z.record(z.string(), z.string()).optional() }).optional(),
    })
    .refine((n) => (n.from === 'Selector') === (n.selector !== undefined), {
      error: 'selector goes with from: Selector',
    })
    .optional(),
});

const LEASE_MIN_SECONDS = 60;
const LEASE_MAX_SECONDS = 86_400;

const LeaseDuration = Duration.refine(
  (text) => {
    const seconds = parseDurationSeconds(text) ?? 0;
    return seconds >= LEASE_MIN_SECONDS && seconds <= LEASE_MAX_SECONDS;
  },
  { error: 'leaseDuration must be between 1m and 24h' },
);

/** For more there is no reason to count. */
export const USES_LIMIT = 1_000_000;

const LIFETIME_MIN_SECONDS = 60;
const LIFETIME_MAX_SECONDS = 31_536_000;

const Lifetime = Duration.refine(
  (text) => {
    const seconds = parseDurationSeconds(text) ?? 0;
    return seconds >= LIFETIME_MIN_SECONDS && seconds <= LIFETIME_MAX_SECONDS;
  },
  { error: 'maxLifetime must be between 1m and 8760h' },
);

export const CredentialSpec = z.strictObject({
  source: Source.describe('Where the material comes from; exactly one.'),
  hosts: z
    .array(HostPattern)
    .min(1)
    .max(32)
    .describe('The hosts that the credential may be sent to at most: host[:port], at most one leading *. label.'),
  delivery: z
    .enum(['Sidecar', 'Gateway'])
    .default('Sidecar')
    .describe('Sidecar: material comes to the sidecar, out of the reach of the agent. Gateway: not available yet.'),
  leaseDuration: LeaseDuration.default('15m').describe(
    'How long a sidecar may use a version without asking again, from 1m to 24h: the longest that a revocation can take while the store is away.',
  ),
  maxLifetime: Lifetime.optional().describe(
    'How old a version may get, from 1m to 8760h: an older one is not leased any more, and must be renewed. Generated ones are made anew before.',
  ),
  maxUses: z
    .int()
    .min(1)
    .max(USES_LIMIT)
    .optional()
    .describe('How many requests a version is good for, over all sessions; 1 makes it one-time. Counted by the store.'),
  refreshInterval: Duration.optional().describe(
    'How often the source is read again, for sources that do not announce changes.',
  ),
  audit: z
    .enum(['Batched', 'Strict'])
    .default('Batched')
    .describe(
      'Batched: uses are on record within a second. Strict: each use is on record before it happens, and refused while the store is away.',
    ),
  allowedConsumers: AllowedConsumers.default({}).describe(
    'Which other namespaces may refer to the Credential; none unless it says so.',
  ),
});
export type CredentialSpec = z.infer<typeof CredentialSpec>;

/** How material is obtained and kept fresh, for which hosts at most, for how long a lease. */
export const Credential = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('Credential'),
  metadata: Metadata,
  spec: CredentialSpec,
  status: z.unknown().optional(),
});
export type Credential = z.infer<typeof Credential>;
