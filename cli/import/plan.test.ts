import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { Credential } from '../../api/credential.ts';
import { hostWithin } from '../../api/host.ts';
import { Integration } from '../../api/integration.ts';
import { PROVIDERS } from '../providers.ts';
import { objectsYaml } from './objects.ts';
import { planImport } from './plan.ts';

test('at least 25 providers are known, each by a name of its own', () => {
  expect(PROVIDERS.length).toBeGreaterThanOrEqual(25);
  expect(new Set(PROVIDERS.map(({ name }) => name)).size).toBe(PROVIDERS.length);
  const variables = PROVIDERS.flatMap(({ keys }) => keys.flatMap((key) => key.variables));
  expect(new Set(variables).size).toBe(variables.length);
});

test.for(PROVIDERS.map((provider) => [provider.name, provider] as const))(
  '%s makes valid objects whose hosts agree',
  ([, provider]) => {
    const lines = provider.keys.map(({ variables }) => `${variables[0]}=0123456789abcdefghijklmnop`);
    if (provider.usernameVariable !== undefined) lines.push(`${provider.usernameVariable}=me`);
    const { credentials } = planImport(lines.join('\n'), 'default');
    expect(credentials).toHaveLength(1);
    const [first, ...rest] = parseAllDocuments(objectsYaml(credentials[0]!)).map((document) => document.toJS());
    const credential = Credential.parse(first);
    expect(rest.length).toBeGreaterThan(0);
    for (const one of rest) {
      const { spec } = Integration.parse(one);
      expect(spec.credentialRef.name).toBe(credential.metadata.name);
      for (const host of spec.hosts) expect(credential.spec.hosts.some((outer) => hostWithin(host, outer))).toBe(true);
    }
  },
);

const planOf = (text: string) => planImport(text, 'default');

test('a key is known by how it begins, whatever its variable is called', () => {
  expect(planOf('MY_THING=sk-ant-0123456789abcdefghij').credentials).toMatchObject([{ key: 'default/anthropic-key' }]);
});

test('another key for the same provider is left where it is, and told', () => {
  const plan = planOf('OPENAI_API_KEY=first-key-of-openai\nOPENAI_KEY=second-key-of-openai');
  expect(plan.credentials).toHaveLength(1);
  expect(plan.untouched).toMatchObject([{ name: 'OPENAI_KEY', why: expect.stringContaining('another key') }]);
  expect(plan.newEnv).toContain('OPENAI_KEY=second-key-of-openai');
});

test('a key goes to the host that the file points the SDK at', () => {
  const plan = planOf('OPENAI_API_KEY=k-0123456789\nOPENAI_BASE_URL=https://llm.example.com:8443/v1');
  expect(plan.credentials).toMatchObject([{ hosts: ['llm.example.com:8443'] }]);
  expect(objectsYaml(plan.credentials[0]!)).not.toContain('api.openai.com');
});

test('a secret that is repeated in a comment or in another value does not stay in the new file', () => {
  const plan = planOf(
    '# old: first-key-of-openai\nOPENAI_API_KEY=first-key-of-openai\nURL=https://x/?k=first-key-of-openai\nA=1\n',
  );
  expect(plan.newEnv).not.toContain('first-key-of-openai');
  expect(plan.newEnv).toContain('A=1\n');
});

test('placeholders and empty values are no keys', () => {
  expect(planOf('OPENAI_API_KEY=sk-sidekeyPlaceholder00\nGITHUB_TOKEN=\n').credentials).toEqual([]);
});

test('a value with a line break cannot be placed and stays', () => {
  expect(planOf('OPENAI_API_KEY="a\nb"').untouched).toMatchObject([{ why: expect.stringContaining('line break') }]);
});

test('a user name that is missing is told', () => {
  expect(planOf('TWILIO_AUTH_TOKEN=0123456789').untouched).toMatchObject([
    { why: expect.stringContaining('TWILIO_ACCOUNT_SID') },
  ]);
});
