import { expect, test } from 'vitest';
import { z } from 'zod';
import { CredentialSpec } from '../../api/credential.ts';
import { IntegrationSpec } from '../../api/integration.ts';

interface Schema {
  type?: string;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  description?: string;
  pattern?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: Schema | boolean;
  anyOf?: Schema[];
}

const HEADER = `# Objects

What \`Credential\` and \`Integration\` (\`apiVersion: sidekey.dev/v1alpha1\`) can say. This page is written from the schemas by \`make goldens\`, and a test keeps
it so. An unknown field is an error, never ignored. [What is refused](refusals.md) besides types and bounds is a page of its own. Examples are in
[examples/](../../examples/).
`;

test('docs/reference/objects.md lists every field of both kinds', async () => {
  const page = [
    HEADER,
    section(
      'Credential',
      'How material is obtained and kept fresh, for which hosts at most, for how long a lease.',
      CredentialSpec,
    ),
    section(
      'Integration',
      'How and where a credential is placed: hosts, placements, subjects, rules and limits.',
      IntegrationSpec,
    ),
  ].join('\n');
  await expect(page).toMatchFileSnapshot('../../docs/reference/objects.md');
});

function section(kind: string, intro: string, spec: z.ZodType): string {
  const schema = z.toJSONSchema(spec, { io: 'input', unrepresentable: 'any' }) as Schema;
  const lines = rows('spec', schema).map((row) => `| ${row.join(' | ')} |`);
  return `## ${kind}\n\n${intro}\n\n| field | type | required | default | meaning |\n|---|---|---|---|---|\n${lines.join('\n')}\n`;
}

function rows(path: string, schema: Schema): string[][] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const list = property.type === 'array' ? property.items : undefined;
    const at = `${path}.${name}${list === undefined ? '' : '[]'}`;
    const required = schema.required?.includes(name) === true ? 'yes' : '';
    const fallback =
      property.default === undefined ? '' : `\`${JSON.stringify(property.default).replaceAll('"', '')}\``;
    const row = [
      `\`${at}\``,
      typeOf(list ?? property),
      required,
      fallback === '`{}`' ? '' : fallback,
      property.description ?? '',
    ];
    const parts = property.description?.endsWith('Not available yet.') ? [] : rows(at, list ?? property);
    return [row, ...parts];
  });
}

function typeOf(schema: Schema): string {
  if (schema.enum !== undefined) return schema.enum.join(', ');
  if (schema.const !== undefined) return String(schema.const);
  if (schema.type === 'object' && typeof schema.additionalProperties === 'object') return 'map';
  return schema.type ?? 'string';
}
