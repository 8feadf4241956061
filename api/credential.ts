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
  .strictObject({ name: SubdomainName, key: SecretKey.optional(), fields: FieldMap.optional() })
  .refine((source) => (source.key === undefined) !== (source.fields === undefined), {
    error: 'set either key or fields',
  });

const GeneratedSource = z
  .strictObject({
    bytes: z.int().min(16).max(128).default(32),
    encoding: z.enum(['Base64URL', 'Hex', 'Alphanumeric']).default('Base64URL'),
    rotateEvery: Duration.optional(),
    overlap: Duration.optional(),
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
  secret: SecretSource.optional(),
  store: z.strictObject({}).optional(),
  oauth2: OAuth2Source.optional(),
  githubApp: GithubAppSource.optional(),
  aws: AwsSource.optional(),
  vault: VaultSource.optional(),
  generated: GeneratedSource.optional(),
  perUser: PerUserSource.optional(),
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
      from: z.enum(['Same', 'Selector', 'All']).default('Same'),
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

export const CredentialSpec = z.strictObject({
  source: Source,
  hosts: z.array(HostPattern).min(1).max(32),
  delivery: z.enum(['Sidecar', 'Gateway']).default('Sidecar'),
  leaseDuration: LeaseDuration.default('15m'),
  refreshInterval: Duration.optional(),
  allowedConsumers: AllowedConsumers.default({}),
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
