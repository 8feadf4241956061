import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { placeholderOf } from '../../../api/placeholder.ts';
import type { IntegrationRecord } from '../../../api/protocol.ts';
import { LOOPBACK } from '../../sidecar/sidecarProcess.ts';
import { AgentConnection } from './agentConnection.ts';
import { Lab } from './lab.ts';

const KEYS = ['oldest', 'newer', 'a-twin', 'b-twin', 'deep'];
let lab: Lab;
let hosts: string[];

beforeAll(async () => {
  lab = await Lab.start(
    (made) => {
      hosts = [made.api.host(), made.api.host('twins.localhost')];
      const integration = (name: string, host: string, createdAt: string, rest: Partial<IntegrationRecord> = {}) => [
        `default/${name}`,
        {
          credential: `default/${name}`,
          hosts: [host],
          alias: name,
          createdAt,
          allowedNetworks: LOOPBACK,
          placeholder: placeholderOf({ key: `default/${name}`, hosts }),
          ...rest,
        },
      ];
      return {
        credentials: Object.fromEntries(
          KEYS.map((name) => [`default/${name}`, { hosts, material: `material-of-${name}` }]),
        ),
        integrations: Object.fromEntries([
          // Sent to the store in another order than that of age.
          integration('newer', hosts[0]!, '2026-03-01T00:00:00Z'),
          integration('oldest', hosts[0]!, '2026-01-01T00:00:00Z'),
          integration('deep', hosts[0]!, '2026-04-01T00:00:00Z', {
            rules: [{ action: 'Allow', paths: [{ type: 'PathPrefix', value: '/v1/deep' }] }],
          }),
          integration('b-twin', hosts[1]!, '2026-01-01T00:00:00Z'),
          integration('a-twin', hosts[1]!, '2026-01-01T00:00:00Z'),
        ]),
      };
    },
    ['twins.localhost'],
  );
});
afterAll(() => lab?.close());
beforeEach(() => lab.api.forget());

/** Whose material the upstream got. */
async function chosen(path: string, { host = hosts[0]!, fields = '' } = {}): Promise<string> {
  const answer = await lab.askInTunnel(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`, host);
  expect(answer.status).toBe(200);
  expect(lab.api.sent('authorization')).toHaveLength(1);
  return lab.api.sent('authorization')[0]!.replace('Bearer material-of-', '');
}
const holding = (name: string) => `Authorization: Bearer ${placeholderOf({ key: `default/${name}`, hosts })}\r\n`;

describe('of several Integrations for a host', () => {
  test('the one whose placeholder the agent holds is taken', async () => {
    for (const name of ['newer', 'oldest']) expect(await chosen('/', { fields: holding(name) })).toBe(name);
    expect(await chosen('/v1/deep', { fields: holding('newer') })).toBe('newer');
    expect(await chosen('/', { host: hosts[1]!, fields: holding('b-twin') })).toBe('b-twin');
  });

  test('a placeholder within Basic counts as well', async () => {
    const inner = placeholderOf({ key: 'default/newer', hosts });
    const fields = `Authorization: Basic ${Buffer.from(`x:${inner}`).toString('base64')}\r\n`;
    expect(await chosen('/', { fields })).toBe('newer');
  });

  test('without a placeholder, the one with the most specific path', async () => {
    expect(await chosen('/v1/deep/er')).toBe('deep');
    expect(await chosen('/v1/deeper')).toBe('oldest');
  });

  test('else the oldest, whatever order the store learned of them in', async () => {
    expect(await chosen('/')).toBe('oldest');
  });

  test('else the first by name', async () => {
    expect(await chosen('/', { host: hosts[1]! })).toBe('a-twin');
  });

  test('a placeholder does not get past the rules of its Integration', async () => {
    const answer = await lab.askInTunnel(
      `GET /other HTTP/1.1\r\nHost: ${hosts[0]}\r\n${holding('deep')}\r\n`,
      hosts[0],
    );
    expect(answer.fields.get('sidekey-error')).toBe('RuleDenied');
  });
});

test('a request needs neither store nor disk: with the store killed 1,000 pass, and nothing is written or read', async () => {
  const agent = await AgentConnection.open(lab.sidecar.proxyPort);
  const once = () => agent.send(`GET /oldest/ HTTP/1.1\r\nHost: 127.0.0.1:${lab.sidecar.proxyPort}\r\n\r\n`).answer();
  await once();
  await lab.store.process.kill();
  const io = () => {
    const text = readFileSync(`/proc/${lab.sidecar.child.pid}/io`, 'latin1');
    return ['read_bytes', 'write_bytes'].map((name) => Number(new RegExp(`^${name}: (\\d+)`, 'm').exec(text)?.[1]));
  };
  const before = io();
  const atMs = performance.now();
  for (let i = 0; i < 1_000; i++) expect((await once()).status).toBe(200);
  const eachMs = (performance.now() - atMs) / 1_000;
  expect(io()).toEqual(before);
  expect(lab.api.requests).toHaveLength(1_001);
  // One after the other, on a machine that does other things: far from what asking anybody would cost.
  expect(eachMs).toBeLessThan(5);
  agent.close();
});
