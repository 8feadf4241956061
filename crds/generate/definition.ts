import type { z } from 'zod';
import { CredentialSpec } from '../../api/credential.ts';
import { IntegrationSpec } from '../../api/integration.ts';
import { CredentialStatus, IntegrationStatus } from '../../api/statusSchema.ts';
import { type CelRule, type StructuralSchema, structuralSchema } from './structural.ts';

interface Kind {
  kind: string;
  plural: string;
  shortName: string;
  description: string;
  spec: z.ZodType;
  status: z.ZodType;
  columns: { name: string; type: string; jsonPath: string; priority?: number }[];
}

const READY = `.status.conditions[?(@.type=="Ready")]`;
const READY_COLUMNS = [
  { name: 'Ready', type: 'string', jsonPath: `${READY}.status` },
  { name: 'Reason', type: 'string', jsonPath: `${READY}.reason` },
];
const AGE_COLUMN = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };

const KINDS: readonly Kind[] = [
  {
    kind: 'Credential',
    plural: 'credentials',
    shortName: 'cred',
    description: 'How material is obtained and kept fresh, for which hosts at most, for how long a lease.',
    spec: CredentialSpec,
    status: CredentialStatus,
    columns: [
      { name: 'Source', type: 'string', jsonPath: '.status.source' },
      ...READY_COLUMNS,
      { name: 'Version', type: 'integer', jsonPath: '.status.version' },
      { name: 'Expires', type: 'date', jsonPath: '.status.expirationTime' },
      AGE_COLUMN,
      { name: 'Hosts', type: 'string', jsonPath: '.spec.hosts', priority: 1 },
      { name: 'Placeholder', type: 'string', jsonPath: '.status.placeholder', priority: 1 },
    ],
  },
  {
    kind: 'Integration',
    plural: 'integrations',
    shortName: 'integ',
    description: 'How and where a credential is placed: hosts, placements, subjects, rules and limits.',
    spec: IntegrationSpec,
    status: IntegrationStatus,
    columns: [
      { name: 'Hosts', type: 'string', jsonPath: '.spec.hosts' },
      { name: 'Credential', type: 'string', jsonPath: '.spec.credentialRef.name' },
      ...READY_COLUMNS,
      AGE_COLUMN,
      { name: 'Alias', type: 'string', jsonPath: '.spec.alias', priority: 1 },
      { name: 'Tags', type: 'string', jsonPath: '.spec.subjects.tags', priority: 1 },
      { name: 'Roles', type: 'string', jsonPath: '.spec.subjects.roles', priority: 1 },
    ],
  },
];

/** The API server takes any DNS subdomain as a name; ours are labels, because an alias, a tag or a URL is made of them. */
const NAME_RULE: CelRule = {
  rule: "self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",
  message: 'metadata.name: expected lower-case letters, digits and dashes, at most 63, such as openai-key',
};

/** What no schema can say, because it compares with the object before. */
const TRANSITION_RULES: Readonly<Record<string, Readonly<Record<string, readonly CelRule[]>>>> = {
  Credential: {
    source: [
      {
        rule: 'has(self.perUser) == has(oldSelf.perUser)',
        message: 'perUser is immutable: delete the Credential and create it anew',
      },
    ],
  },
};

/** CustomResourceDefinitions (apiextensions.k8s.io/v1) by file name. */
export function definitions(): Record<string, object> {
  return Object.fromEntries(KINDS.map((kind) => [`${kind.plural}.sidekey.dev.yaml`, definition(kind)]));
}

function definition({ kind, plural, shortName, description, spec, status, columns }: Kind): object {
  const specSchema = structuralSchema(spec.describe('What is wanted.'), 'spec');
  for (const [field, rules] of Object.entries(TRANSITION_RULES[kind] ?? {}))
    specSchema.properties![field] = withRules(specSchema.properties![field]!, rules);
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.sidekey.dev` },
    spec: {
      group: 'sidekey.dev',
      scope: 'Namespaced',
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames: [shortName],
        categories: ['sidekey'],
      },
      versions: [
        {
          name: 'v1alpha1',
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns,
          schema: {
            openAPIV3Schema: {
              description,
              type: 'object',
              'x-kubernetes-validations': [NAME_RULE],
              required: ['spec'],
              properties: {
                spec: specSchema,
                status: structuralSchema(status.describe('What became of it; written by the operator.'), 'status'),
              },
            },
          },
        },
      ],
    },
  };
}

function withRules(schema: StructuralSchema, rules: readonly CelRule[]): StructuralSchema {
  return { ...schema, 'x-kubernetes-validations': [...(schema['x-kubernetes-validations'] ?? []), ...rules] };
}
