import { expect, test } from 'vitest';
import type { Grant } from '../../api/grant.ts';
import { agentEnv } from './agentEnv.ts';

const grant = (name: string, hosts: string[], changes: Partial<Grant> = {}): Grant => ({
  integration: `default/${name}`,
  createdAt: '2026-01-01T00:00:00Z',
  credential: `default/${name}-key`,
  hosts,
  alias: name,
  inject: [{ bearer: {} }],
  rules: [],
  limits: [],
  placeholder: `${name}-sidekeyPlaceholder0123456789abcdef`,
  allowedNetworks: [],
  allowPlaintext: false,
  ...changes,
});

const envOf = (env: NodeJS.ProcessEnv, grants: Grant[] = [grant('openai', ['api.openai.com'])], keepEnv = false) =>
  agentEnv({ env, grants, proxyPort: 4711, bundleFile: '/run/b.pem', trustStoreFile: '/run/b.jks', keepEnv });

test('a variable of the user stays as it is unless it is one of ours', () => {
  expect(envOf({ EDITOR: 'vi', SIDEKEY_DIR: '/x', ALL_PROXY: 'socks5://p:1' }).env).toMatchObject({ EDITOR: 'vi' });
  expect(envOf({ SIDEKEY_DIR: '/x', ALL_PROXY: 'socks5://p:1' }).env).not.toHaveProperty('ALL_PROXY');
});

test('a host that an Integration covers does not go past the sidecar by NO_PROXY', () => {
  const { env, warnings } = envOf({ NO_PROXY: 'internal.example, .openai.com,*' });
  expect(env.NO_PROXY).toBe('internal.example,localhost,127.0.0.1,::1');
  expect(env.no_proxy).toBe(env.NO_PROXY);
  expect(warnings).toEqual([expect.stringContaining('.openai.com, *')]);
});

test('a variable with a placeholder, also of another credential of the host, is left alone', () => {
  const own = 'sk-sidekeyPlaceholderffff';
  expect(envOf({ OPENAI_API_KEY: own })).toMatchObject({ env: { OPENAI_API_KEY: own }, warnings: [] });
});

test('a real key for a host that nothing covers is none of our business', () => {
  const { env, warnings } = envOf({ ANTHROPIC_API_KEY: 'sk-ant-0123456789abcdefghij' });
  expect(env.ANTHROPIC_API_KEY).toBe('sk-ant-0123456789abcdefghij');
  expect(warnings).toEqual([]);
});

test('a short dummy such as "x" is replaced only where it is asked for by name, without a warning', () => {
  expect(envOf({ OPENAI_API_KEY: 'x' })).toMatchObject({ env: { OPENAI_API_KEY: 'x' }, warnings: [] });
});

test('of two credentials for one host the first gives the well-known variable, and each has its own', () => {
  const { env } = envOf({}, [grant('openai', ['api.openai.com']), grant('second', ['*.openai.com'])]);
  expect(env.OPENAI_API_KEY).toMatch(/^openai-/);
  expect(env.SIDEKEY_CREDENTIAL_SECOND_KEY).toMatch(/^second-/);
  expect(env.SIDEKEY_SECOND_URL).toBe('http://127.0.0.1:4711/second');
});

test("the user's Java options stay, before ours", () => {
  expect(envOf({ JAVA_TOOL_OPTIONS: '-Xmx1g' }).env.JAVA_TOOL_OPTIONS).toMatch(
    /^-Xmx1g -Djavax\.net\.ssl\.trustStore=\/run\/b\.jks /,
  );
});

test('a rare CA variable is taken over only where the user has it', () => {
  expect(envOf({}).env).not.toHaveProperty('NIX_SSL_CERT_FILE');
  expect(envOf({ NIX_SSL_CERT_FILE: '/own' }).env.NIX_SSL_CERT_FILE).toBe('/run/b.pem');
});
