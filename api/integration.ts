import { z } from 'zod';
import { setOf } from './collection.ts';
import { constrain, exactlyOneCel, matchesCel } from './constraint.ts';
import { Interval } from './duration.ts';
import { HostPattern } from './host.ts';
import { API_VERSION, LabelName, Metadata, SubdomainName, WordName } from './metadata.ts';

/** Headers that belong to the transport: a placement must not write them. */
const TRANSPORT_HEADERS = [
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'te',
  'trailer',
  'upgrade',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'expect',
];

const Bearer = z.strictObject({
  field: WordName.optional().describe('Which field of the material; `value` if left out.'),
});
const Basic = constrain(
  constrain(
    z.strictObject({
      username: z
        .string()
        .max(256)
        .optional()
        .describe('A fixed user name; without it and usernameField the user name is empty.'),
      usernameField: WordName.optional().describe('The field that holds the user name.'),
      passwordField: WordName.optional().describe(
        'The field that holds the password; `value` if left out, or an empty password where usernameField stands alone.',
      ),
    }),
    {
      message: 'set username or usernameField, not both',
      holds: (basic) => basic.username === undefined || basic.usernameField === undefined,
      cel: '!has(self.username) || !has(self.usernameField)',
    },
  ),
  {
    message: 'a username must not contain a colon (RFC 7617)',
    holds: (basic) => !basic.username?.includes(':'),
    cel: "!has(self.username) || !self.username.contains(':')",
  },
);
const Header = constrain(
  z.strictObject({
    name: z
      .string()
      .min(1)
      .max(64)
      .regex(/^[A-Za-z0-9-]+$/, { error: 'expected letters, digits and dashes' })
      .describe('The name of the header.'),
    format: z
      .string()
      .max(256)
      .regex(/^[\x20-\x7e]*$/, { error: 'expected printable ASCII' })
      .optional()
      .describe('What the value looks like; `{value}` (or `{<field>}`) stands for the material.'),
    field: WordName.optional().describe('Which field of the material; `value` if left out.'),
  }),
  {
    message: 'this header belongs to the transport',
    holds: (header) => !TRANSPORT_HEADERS.includes(header.name.toLowerCase()),
    cel: `!(self.name.lowerAscii() in [${TRANSPORT_HEADERS.map((name) => `'${name}'`).join(', ')}])`,
    at: 'name',
  },
);
const Query = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(64)
    .regex(/^[A-Za-z0-9._~-]+$/, { error: 'expected letters, digits, . _ ~ -' })
    .describe('The name of the parameter.'),
  field: WordName.optional().describe('Which field of the material; `value` if left out.'),
});
const AwsSigV4 = z.strictObject({
  service: z.string().max(64).describe('The service that the signature is for, such as s3.'),
  region: z.string().max(64).describe('The region that it is for, such as eu-central-1.'),
});
const Placeholder = z.strictObject({
  in: setOf(z.enum(['Header', 'Query', 'Path', 'Body']), { min: 1, max: 4 }).describe(
    'Where the placeholder is looked for.',
  ),
  field: WordName.optional().describe('Which field of the material; `value` if left out.'),
});

const placements = {
  bearer: Bearer.optional().describe('`Authorization: Bearer …` (RFC 6750).'),
  basic: Basic.optional().describe('`Authorization: Basic …` (RFC 7617).'),
  header: Header.optional().describe('A header of any other name.'),
  query: Query.optional().describe('A parameter of the query.'),
  awsSigV4: AwsSigV4.optional().describe('An AWS signature. Not available yet.'),
  placeholder: Placeholder.optional().describe(
    'The material takes the place of the placeholder wherever the agent has put that, within the named parts of the request.',
  ),
};

export type PlacementKind = keyof typeof placements;
export const PLACEMENT_KINDS = Object.keys(placements) as PlacementKind[];

/** Where in the request the material goes: exactly one slot is set. */
export const Placement = constrain(z.strictObject(placements), {
  message: `expected exactly one placement of ${PLACEMENT_KINDS.join(', ')}`,
  holds: (item) => Object.values(item).filter((slot) => slot !== undefined).length === 1,
  cel: exactlyOneCel(PLACEMENT_KINDS),
});
export type Placement = z.infer<typeof Placement>;

export const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;

const AMBIGUOUS_PATH = /\/\/|%|[?#\\;]|(^|\/)\.\.?(\/|$)/;
const CanonicalPath = constrain(
  z
    .string()
    .max(1024)
    .regex(/^\/[\x21-\x7e]*$/, { error: 'expected an absolute path of printable ASCII' }),
  {
    message: 'expected a canonical path: no //, dot segments, %, ?, #, ; or backslash',
    holds: (path) => !AMBIGUOUS_PATH.test(path),
    cel: `!${matchesCel(AMBIGUOUS_PATH)}`,
  },
);

export const Rule = z.strictObject({
  methods: setOf(z.enum(METHODS), { min: 1, max: 9 })
    .optional()
    .describe('Every method if left out; HEAD goes with GET only if it is listed.'),
  paths: z
    .array(
      z.strictObject({
        type: z
          .enum(['Exact', 'PathPrefix'])
          .default('PathPrefix')
          .describe('The whole path, or its beginning up to the border of a segment.'),
        value: CanonicalPath.describe('A canonical absolute path.'),
      }),
    )
    .min(1)
    .max(16)
    .optional()
    .describe('Every path if left out.'),
  action: z.enum(['Allow', 'Deny']).default('Allow').describe('What a match means.'),
});
/** Which requests an Integration covers; a Deny that matches wins over any Allow, and with at least one Allow all else is denied. */
export type Rule = z.infer<typeof Rule>;

export const Limit = z.strictObject({
  requests: z.int().min(1).max(1_000_000_000).describe('How many.'),
  window: Interval.describe('In how long, such as 1m.'),
  scope: z
    .enum(['Pod', 'Role', 'User', 'Integration'])
    .default('Pod')
    .describe('Counted for each session (Pod); the others are not available yet.'),
});
export type Limit = z.infer<typeof Limit>;

/** Which sessions an Integration is for: every list that is given must hold one of the session's own. */
export const Subjects = constrain(
  z.strictObject({
    tags: setOf(WordName, { min: 1, max: 16 }).optional().describe('The session has one of these tags.'),
    roles: setOf(WordName, { min: 1, max: 16 }).optional().describe('The session has one of these roles.'),
    serviceAccounts: setOf(SubdomainName, { min: 1, max: 16 })
      .optional()
      .describe('The session runs as one of these ServiceAccounts.'),
  }),
  {
    message: 'expected tags, roles or serviceAccounts',
    holds: (subjects) => Object.values(subjects).some((list) => list !== undefined),
    cel: 'has(self.tags) || has(self.roles) || has(self.serviceAccounts)',
  },
);
export type Subjects = z.infer<typeof Subjects>;

const HeaderName = z
  .string()
  .min(1)
  .max(64)
  .regex(/^[A-Za-z0-9-]+$/, { error: 'expected letters, digits and dashes' });

const userSelections = {
  session: z.strictObject({}).optional().describe('The one whom the session was started for.'),
  header: z
    .strictObject({
      name: HeaderName.describe('The name of the header.'),
      trust: z.literal('AgentAsserted').describe('That the agent says it is good enough.'),
    })
    .optional()
    .describe('Whom the agent names in a header.'),
  jwt: z
    .strictObject({
      header: HeaderName.describe('The header that carries it.'),
      issuer: z.string().max(512).describe('Who must have issued it.'),
      audience: z.string().max(512).describe('Whom it must be for.'),
      claim: z.string().max(128).default('sub').describe('The claim that names the user.'),
    })
    .optional()
    .describe('Whom a JWT in a header names.'),
};

const User = constrain(z.strictObject(userSelections), {
  message: 'exactly one user selection',
  holds: (user) => Object.values(user).filter((slot) => slot !== undefined).length === 1,
  cel: exactlyOneCel(Object.keys(userSelections)),
});

const { cidrv4, cidrv6 } = z.regexes;
export const CIDR = constrain(z.string().max(50), {
  message: 'expected a network such as 10.0.0.0/8 or fd00::/8',
  holds: (text) => cidrv4.test(text) || cidrv6.test(text),
  // Not isCIDR, which Kubernetes 1.30 does not take in a CRD yet.
  cel: `${matchesCel(cidrv4)} || ${matchesCel(cidrv6)}`,
});

export const IntegrationSpec = z.strictObject({
  credentialRef: z
    .strictObject({
      name: LabelName.describe('Its name.'),
      namespace: LabelName.optional().describe('Its namespace; that of the Integration if left out.'),
    })
    .describe('The Credential; in another namespace only if its allowedConsumers say so.'),
  hosts: setOf(HostPattern, { min: 1, max: 16 }).describe(
    'Where it applies; each must be within the hosts of the Credential. Without a port: 443, or 80 for http.',
  ),
  inject: z
    .array(Placement)
    .min(1)
    .max(4)
    .describe('How the material is placed; what the agent sends in the same place is replaced.'),
  alias: LabelName.optional().describe(
    'Name of the base URL, which leads to the first host: http://127.0.0.1:PORT/ALIAS or http://ALIAS.sidekey.internal.',
  ),
  subjects: Subjects.describe('Which sessions it is for: each list that is given must hold one of the session.'),
  user: User.optional().describe('Per-user credentials. Not available yet.'),
  rules: z
    .array(Rule)
    .max(32)
    .optional()
    .describe(
      'Which requests it covers. A Deny that matches wins; with at least one Allow, all else is denied; without rules everything is allowed.',
    ),
  limits: z.array(Limit).max(8).optional().describe('How many requests a session may make in a sliding window.'),
  allowedNetworks: setOf(CIDR, { max: 16 })
    .optional()
    .describe('Private networks that its hosts may resolve to; by default credentials go to public addresses only.'),
  allowPlaintext: z
    .boolean()
    .default(false)
    .describe('Whether the credential may travel over plain http to these hosts.'),
});
export type IntegrationSpec = z.infer<typeof IntegrationSpec>;

/** How and where a credential is placed: hosts, placements, subjects, rules and limits. */
export const Integration = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('Integration'),
  metadata: Metadata,
  spec: IntegrationSpec,
  status: z.unknown().optional(),
});
export type Integration = z.infer<typeof Integration>;

/** `namespace/name` of the Credential that an Integration refers to. */
export function credentialKeyOf(integration: Pick<Integration, 'metadata' | 'spec'>): string {
  const { name, namespace = integration.metadata.namespace } = integration.spec.credentialRef;
  return `${namespace}/${name}`;
}
