import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hostOf } from './upstreamPod.ts';
import { World } from './world.ts';

const NS = 'transparent';
const KEY = 'sk-transparent-3Hd72kLqA';
const digest = createHash('sha256').update(`Bearer ${KEY}`).digest('hex').slice(0, 16);

let world: World;
beforeAll(async () => {
  world = await World.open();
  await world.namespace(NS);
  await world.grant(NS, 'openai', KEY);
  await world.agent({
    name: 'legacy',
    namespace: NS,
    annotations: { 'sidekey.dev/capture': 'transparent', 'sidekey.dev/egress': 'Closed' },
  });
  await world.running(NS, 'legacy');
});
afterAll(() => world?.close());

test('a program that knows no proxy reaches the API with the credential', async () => {
  const environment = (await world.exec(NS, 'legacy', 'env')).stdout;
  expect(environment).not.toMatch(/_proxy=/i);
  const { stderr, stdout } = await world.exec(NS, 'legacy', 'curl', '-sS', `https://${hostOf('api')}/v1/models`);
  expect(`${stdout}${stderr}`).toContain(digest);
});

test('what no Integration covers is refused where egress is closed, by TLS and by plain HTTP', async () => {
  const tls = await world.exec(NS, 'legacy', 'curl', '-sS', '-m', '10', `https://${hostOf('other')}/`);
  expect(tls.code).not.toBe(0);
  const plain = await world.exec(NS, 'legacy', 'curl', '-sS', '-i', '-m', '10', `http://${hostOf('other')}/`);
  expect(plain.stdout).toMatch(/^HTTP\/1.1 403[\s\S]*sidekey-error: NoIntegration/i);
});

test('a credential does not travel over plain HTTP that is captured', async () => {
  const { stdout } = await world.exec(NS, 'legacy', 'curl', '-sS', '-i', '-m', '10', `http://${hostOf('api')}/`);
  expect(stdout).toMatch(/^HTTP\/1.1 403[\s\S]*sidekey-error: PlaintextRefused/i);
});

test('a connection that names no host is refused, and the log says so', async () => {
  const ip = (await world.kubectl(['-n', 'world', 'get', 'service', 'api', '-o', 'jsonpath={.spec.clusterIP}'])).trim();
  const { code } = await world.exec(NS, 'legacy', 'curl', '-sSk', '-m', '10', `https://${ip}/`);
  expect(code).not.toBe(0);
  expect(await world.logs(NS, 'legacy', 'sidekey')).toMatch(/NoAuthority|names no host/);
});

test('the agent cannot take the rules away', async () => {
  const flush = await world.exec(NS, 'legacy', 'sh', '-c', '/usr/sbin/nft flush ruleset; id -u');
  expect(flush.stdout.trim()).toBe('65532');
  const { stdout } = await world.exec(NS, 'legacy', 'curl', '-sS', `https://${hostOf('api')}/still`);
  expect(stdout).toContain(digest);
});
