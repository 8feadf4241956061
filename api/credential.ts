import { z } from 'zod';
import { mapOf, setOf } from './collection.ts';
import { constrain, exactlyOneCel } from './constraint.ts';
import { durationBetween, Interval, isDurationCel, parseDurationSeconds } from './duration.ts';
import { HostPattern } from './host.ts';
import { API_VERSION, Metadata, SubdomainName, WORD_KEY, WordName } from './metadata.ts';

const SecretKey = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[-._a-zA-Z0-9]+$/, { error: 'expected a key of a Secret: letters, digits, dots, dashes, underscores' });
const SecretKeyRef = z.strictObject({
  name: SubdomainName.describe('The name of the Secret, in the namespace of the Credential.'),
  key: SecretKey.describe('The key in it.'),
});
const FieldMap = mapOf(WORD_KEY, SecretKey, { min: 1, max: 8 });

const SecretSource = constrain(
  z.strictObject({
    name: SubdomainName.describe('The name of the Secret.'),
    key: SecretKey.optional().describe('The key that becomes the field `value`.'),
    fields: FieldMap.optional().describe('Field name to key of the Secret.'),
  }),
  {
    message: 'set either key or fields',
    holds: (source) => (source.key === undefined) !== (source.fields === undefined),
    cel: 'has(self.key) != has(self.fields)',
  },
);

const GeneratedSource = constrain(
  z.strictObject({
    bytes: z.int().min(16).max(128).default(32).describe('Random bytes before encoding, 16 to 128.'),
    encoding: z.enum(['Base64URL', 'Hex', 'Alphanumeric']).default('Base64URL').describe('How the bytes are spelled.'),
    rotateEvery: Interval.optional().describe('How often a new value is made.'),
    overlap: Interval.optional().describe('How long the value before stays valid, for whoever checks it.'),
  }),
  {
    message: 'overlap needs rotateEvery and must be shorter',
    // What is no duration at all is refused as such.
    holds: ({ overlap, rotateEvery }) => {
      if (overlap === undefined) return true;
      if (rotateEvery === undefined) return false;
      return (parseDurationSeconds(overlap) ?? 0) < (parseDurationSeconds(rotateEvery) ?? Number.POSITIVE_INFINITY);
    },
    cel: `!has(self.overlap) || (has(self.rotateEvery) && (!(${isDurationCel('self.overlap')}) || !(${isDurationCel('self.rotateEvery')}) || duration(self.overlap) < duration(self.rotateEvery)))`,
  },
);

const PORT = '([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])';
/** By pattern, because URL parsers differ; without user and password, which would be material. */
const HttpsUrl = z
  .string()
  .regex(
    new RegExp(`^https://([a-z0-9]([-a-z0-9.]*[a-z0-9])?|\\[[0-9a-f:.]+\\])(:${PORT})?(/[\\x21-\\x5b\\x5d-\\x7e]*)?$`),
    {
      error:
        'expected an https URL such as https://login.example.com/token, its host in lower case, without user and password',
    },
  );

const PARAMETER_KEY = {
  pattern: /^[\x21-\x7e]+$/,
  maxLength: 128,
  message: 'expected names of printable ASCII without spaces',
};

const OAuth2Source = z.strictObject({
  grant: z
    .enum(['ClientCredentials', 'RefreshToken', 'JWTBearer', 'TokenExchange'])
    .default('ClientCredentials')
    .describe('The grant by which tokens are obtained (RFC 6749, 7523, 8693).'),
  tokenURL: HttpsUrl.max(2048).describe('The token endpoint, https only.'),
  clientID: z.string().max(256).describe('The client that the authorisation server knows.'),
  clientAuth: z
    .enum(['Basic', 'Post', 'PrivateKeyJWT'])
    .default('Basic')
    .describe('How the client proves itself at the token endpoint.'),
  clientSecretRef: SecretKeyRef.describe('The secret, refresh token or private key of the client.'),
  scopes: setOf(z.string().max(256), { max: 32 }).optional().describe('The scopes that are asked for.'),
  parameters: mapOf(PARAMETER_KEY, z.string().max(1024), { max: 16 })
    .optional()
    .describe('Further parameters of the token request, such as audience.'),
});

const Digits = z
  .string()
  .max(20)
  .regex(/^[0-9]+$/, { error: 'expected digits, in quotes' });

const GithubAppSource = z.strictObject({
  appID: Digits.describe('The id of the app, in quotes.'),
  installationID: Digits.describe('The id of the installation, in quotes.'),
  privateKeyRef: SecretKeyRef.describe('The private key of the app, PEM.'),
  repositories: setOf(z.string().max(128), { max: 100 })
    .optional()
    .describe('Narrows tokens to these repositories of the installation.'),
  permissions: mapOf(WORD_KEY, z.enum(['read', 'write', 'admin']), { max: 40 })
    .optional()
    .describe('Narrows tokens to these permissions of the installation.'),
});

const AwsSource = constrain(
  z.strictObject({
    keysRef: z
      .strictObject({ name: SubdomainName.describe('The name of the Secret.') })
      .optional()
      .describe('A Secret with the keys access-key-id and secret-access-key.'),
    assumeRole: z
      .strictObject({
        roleARN: z.string().max(512).describe('The ARN of the role.'),
        sessionPolicy: z.string().max(2048).optional().describe('A policy in JSON that narrows the role.'),
        durationSeconds: z
          .int()
          .min(900)
          .max(43200)
          .optional()
          .describe('How long the keys of the role are valid, 900 to 43200.'),
      })
      .optional()
      .describe('The role whose keys are used.'),
  }),
  {
    message: 'set keysRef, assumeRole or both',
    holds: (source) => source.keysRef !== undefined || source.assumeRole !== undefined,
    cel: 'has(self.keysRef) || has(self.assumeRole)',
  },
);

const VaultSource = z.strictObject({
  address: HttpsUrl.max(512).describe('The URL of the server, https only.'),
  path: z.string().max(512).describe('What is read.'),
  caBundleRef: SecretKeyRef.optional().describe("The CAs of the server, PEM; the system's if left out."),
  auth: z
    .strictObject({
      kubernetes: z
        .strictObject({
          mountPath: z.string().max(256).optional().describe('Where the method is mounted; kubernetes if left out.'),
          role: z.string().max(256).describe('The role of the method.'),
          serviceAccountName: SubdomainName.describe('The ServiceAccount that logs in.'),
        })
        .optional()
        .describe('By a token of a ServiceAccount.'),
    })
    .describe('How to log in.'),
  fields: FieldMap.optional().describe('Field name to key of what was read.'),
});

const PerUserSource = z.strictObject({
  fields: setOf(WordName, { max: 8 }).optional().describe('The fields of the material; `value` if left out.'),
});

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
export const Source = constrain(z.strictObject(sources), {
  message: `expected exactly one source of ${SOURCE_KINDS.join(', ')}`,
  holds: (source) => Object.values(source).filter((slot) => slot !== undefined).length === 1,
  cel: exactlyOneCel(SOURCE_KINDS),
});
export type Source = z.infer<typeof Source>;

export function sourceKind(source: Source): SourceKind {
  return SOURCE_KINDS.find((kind) => source[kind] !== undefined)!;
}

const LABEL_KEY = {
  pattern: /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/,
  maxLength: 317,
  message: 'expected names of labels',
};
const LabelValue = z
  .string()
  .max(63)
  .regex(/^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/, { error: 'expected the value of a label' });

const AllowedConsumers = z.strictObject({
  namespaces: constrain(
    z.strictObject({
      from: z
        .enum(['Same', 'Selector', 'All'])
        .default('Same')
        .describe('Its own namespace only, those that the selector matches, or all.'),
      selector: z
        .strictObject({
          matchLabels: mapOf(LABEL_KEY, LabelValue, { max: 16 })
            .optional()
            .describe('Labels that a namespace must have, all of them; none: every namespace.'),
        })
        .optional()
        .describe('Which namespaces, by their labels; goes with from: Selector.'),
    }),
    {
      message: 'selector goes with from: Selector',
      holds: (namespaces) => (namespaces.from === 'Selector') === (namespaces.selector !== undefined),
      cel: "(self.from == 'Selector') == has(self.selector)",
    },
  )
    .optional()
    .describe('The namespaces whose Integrations may refer to it.'),
});

const LeaseDuration = durationBetween('1m', '24h', 'leaseDuration must be between 1m and 24h');
const Lifetime = durationBetween('1m', '8760h', 'maxLifetime must be between 1m and 8760h');

/** For more there is no reason to count. */
export const USES_LIMIT = 1_000_000;

export const CredentialSpec = z.strictObject({
  source: Source.describe('Where the material comes from; exactly one.'),
  hosts: setOf(HostPattern, { min: 1, max: 32 }).describe(
    'The hosts that the credential may be sent to at most: host[:port], at most one leading *. label.',
  ),
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
  refreshInterval: Interval.optional().describe(
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
