import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { placeholderOf } from '../../../api/placeholder.ts';
import { explain } from '../../../cli/commands/explain.ts';
import { Context } from '../../../cli/context.ts';
import { folderObjects } from '../../../cli/folderGrants.ts';
import { until } from '../../../sidecar/link/testkit.ts';
import { TestFolder } from '../../cli/sidekey.ts';
import { SESSION } from '../../store/storeClient.ts';
import { AgentConnection, type Answer } from './agentConnection.ts';
import { BEARER, Lab, SECRET } from './lab.ts';

const OLDER_SECRET = 'sk-of-the-older-integration';
let lab: Lab;
let folder: TestFolder;
let placeholder: string;

beforeAll(async () => {
  folder = new TestFolder();
  lab = await Lab.start(
    async (made) => {
      folder.write('objects.yaml', objects(made.api.port));
      const { credentials, integrations, problems } = await folderObjects(folder.path);
      expect([problems, credentials.size, integrations.length]).toEqual([[], 2, 4]);
      placeholder = placeholderOf({ key: 'default/key', hosts: credentials.get('default/key')!.hosts });
      const material: Record<string, string> = { 'default/key': SECRET, 'default/older': OLDER_SECRET };
      return {
        credentials: Object.fromEntries(
          [...credentials].map(([key, record]) => [
            key,
            { ...record, source: 'secret' as const, material: material[key]! },
          ]),
        ),
        integrations: Object.fromEntries(integrations.map(({ key, record }) => [key, record])),
      };
    },
    ['two.localhost', 'limited.localhost'],
  );
});
afterAll(async () => {
  await lab?.close();
  folder.remove();
});
beforeEach(() => lab.api.forget());

function objects(port: number): string {
  const credential = (name: string, hosts: string[]) => `apiVersion: sidekey.dev/v1alpha1
kind: Credential
metadata: { name: ${name} }
spec: { source: { store: {} }, hosts: [${hosts.map((host) => `'${host}.localhost:${port}'`)}] }
---
`;
  const integration = (
    name: string,
    key: string,
    host: string,
    createdAt: string,
    rest = '',
  ) => `apiVersion: sidekey.dev/v1alpha1
kind: Integration
metadata: { name: ${name}, creationTimestamp: '${createdAt}' }
spec:
  credentialRef: { name: ${key} }
  hosts: ['${host}.localhost:${port}']
  alias: ${name}
  inject: [{ bearer: {} }]
  subjects: { tags: [llm] }
  allowedNetworks: [127.0.0.0/8]
${rest}---
`;
  const rules = `  rules:
  - { action: Allow, methods: [GET, POST], paths: [{ value: /v1 }] }
  - { action: Allow, methods: [GET], paths: [{ type: Exact, value: /health }] }
  - { action: Deny, paths: [{ value: /v1/admin }, { value: /v1/socket/secret }] }
`;
  return [
    credential('key', ['api', 'two', 'limited']),
    credential('older', ['two']),
    integration('ruled', 'key', 'api', '2026-01-01T00:00:00Z', rules),
    integration('older', 'older', 'two', '2026-01-01T00:00:00Z'),
    integration('newer', 'key', 'two', '2026-02-01T00:00:00Z'),
    integration('limited', 'key', 'limited', '2026-01-01T00:00:00Z', '  limits: [{ requests: 1, window: 1h }]\n'),
  ].join('');
}

describe('sidekey explain says what the sidecar does', () => {
  const at = (host: string, path: string) => () => `https://${host}.localhost:${lab.api.port}${path}`;
  const alias = (rest: string) => () => `http://127.0.0.1:${lab.sidecar.proxyPort}/${rest}`;
  const table: [method: string, url: () => string][] = [
    ['GET', at('api', '/v1')],
    ['GET', at('api', '/v1/models?limit=1')],
    ['POST', at('api', '/v1/chat')],
    ['DELETE', at('api', '/v1/chat')],
    ['HEAD', at('api', '/v1')],
    ['GET', at('api', '/v10')],
    ['GET', at('api', '/')],
    ['GET', at('api', '/health')],
    ['GET', at('api', '/health/deep')],
    ['POST', at('api', '/health')],
    ['GET', at('api', '/v1/admin')],
    ['GET', at('api', '/v1/admin/keys')],
    ['GET', at('api', '/v1/administrator')],
    ['GET', at('api', '/v1//admin')],
    ['GET', at('api', '/v1/%61dmin')],
    ['GET', at('api', '/v1/x%2fadmin')],
    ['GET', at('api', '/v1/x;a=b/admin')],
    ['GET', at('api', '/v1/%00')],
    ['GET', at('two', '/anything')],
    ['GET', at('two', '/a//b')],
    ['GET', at('two', '/a%2fb')],
    ['GET', () => `https://two.localhost:${lab.api.port}/?key=${placeholder}`],
    ['GET', () => `https://api.localhost:${lab.api.port}/v1?key=sidekeyPlaceholder${'0'.repeat(32)}`],
    ['GET', () => `http://api.localhost:${lab.api.port}/v1`],
    ['GET', alias('ruled/v1')],
    ['GET', alias('ruled/v1/admin')],
    ['GET', alias('older/x')],
    ['GET', alias('newer/x')],
    ['GET', () => 'http://newer.sidekey.internal/x'],
    ['GET', () => 'http://nobody.sidekey.internal/x'],
    ['GET', () => 'http://a.b.sidekey.internal/x'],
    ['GET', at('limited', '/')],
  ];

  test.each(table.map(([method, url], i) => [i + 1, method, url] as const))('request %i', async (_, method, url) => {
    const target = url();
    const explained = await explainedBy(method, target);
    lab.api.forget();
    const host = new URL(target).host;
    const answer = await lab.ask(`${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`, method);
    expect({ method, target, outcome: outcome(answer) }).toEqual({ method, target, outcome: explained });
  });

  /** What the command prints, in short. */
  async function explainedBy(method: string, url: string): Promise<string> {
    const out = new PassThrough();
    const err = new PassThrough();
    const terminal = { out, err, outIsTerminal: false, errIsTerminal: false, env: {} };
    const context = new Context({ dir: folder.path, output: 'json', terminal });
    const subject = { namespace: SESSION.namespace, serviceAccount: 'default', role: SESSION.role, tags: SESSION.tags };
    // A refusal is printed, and then thrown for the exit code.
    await explain(context, method, url, { subject, egress: 'Open' }).catch(() => {});
    const said: { decision: string; credential?: string; code?: string } = JSON.parse(String(out.read()));
    return said.credential ?? said.code ?? said.decision;
  }

  function outcome(answer: Answer): string {
    const code = answer.fields.get('sidekey-error');
    if (code !== undefined) return code;
    const [sent] = lab.api.sent('authorization');
    return sent === undefined
      ? 'pass'
      : sent === BEARER
        ? 'default/key'
        : sent.endsWith(OLDER_SECRET)
          ? 'default/older'
          : sent;
  }
});

describe('a WebSocket', () => {
  const upgrade = (path: string, more = '') =>
    `GET ${path} HTTP/1.1\r\nHost: ${lab.api.host()}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n${more}\r\n`;
  const accept = () => {
    lab.api.answer = (_, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    };
  };

  test('is opened with the credential where the rules allow it', async () => {
    accept();
    const answer = await lab.askInTunnel(upgrade('/v1/socket', 'Authorization: Bearer evil\r\n'));
    expect([answer.status, lab.api.sent('authorization')]).toEqual([101, [BEARER]]);
  });

  test('is refused by the rule that refuses a plain request', async () => {
    accept();
    for (const path of ['/v1/admin', '/v1/socket/secret', '/socket']) {
      const answer = await lab.askInTunnel(upgrade(path));
      expect([path, answer.status, answer.fields.get('sidekey-error')]).toEqual([path, 403, 'RuleDenied']);
    }
    expect(lab.api.connections).toBe(0);
  });

  test('is not opened for another host than that of the tunnel', async () => {
    const answer = await lab.askInTunnel(upgrade('/v1').replace(lab.api.host(), 'two.localhost'));
    expect(answer.fields.get('sidekey-error')).toBe('AuthorityMismatch');
  });

  test('that the upstream declines leaves no tunnel: what follows is decided as requests', async () => {
    lab.api.answer = (_, socket) => socket.write('HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n');
    const agent = await lab.tunnel();
    const following = `GET /v1/admin HTTP/1.1\r\nHost: ${lab.api.host()}\r\n\r\n`;
    agent.send(upgrade('/v1/socket').replace('Version: 13', 'Version: 777') + following);
    expect((await agent.answer()).status).toBe(426);
    expect((await agent.answer()).fields.get('sidekey-error')).toBe('RuleDenied');
    expect(lab.api.requests).toHaveLength(1);
    agent.close();
  });

  test('cannot be h2c, in which further requests would go unseen', async () => {
    accept();
    const answer = await lab.askInTunnel(
      upgrade('/v1').replace('Upgrade: websocket', 'Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__'),
    );
    expect(lab.api.bytes).not.toMatch(/h2c|^upgrade/im);
    expect(answer.status).toBe(502); // An upstream that changes the protocol unasked.
  });
});

describe('HTTP/2', () => {
  test('is not spoken in an intercepted tunnel: an agent that speaks nothing else is turned away, and the audit says why', async () => {
    const { socket } = await AgentConnection.connect(lab.sidecar.proxyPort, lab.api.host());
    const secure = tlsConnect({
      socket,
      servername: 'api.localhost',
      ca: lab.sidecar.caPem,
      ALPNProtocols: ['h2'],
    });
    const [error] = (await once(secure, 'error').catch((thrown: unknown) => [thrown])) as [Error];
    expect(error.message).toMatch(/no application protocol/i);
    const told = await until(async () =>
      (await lab.usage()).find(({ refusal, method }) => refusal === 'Http2NotSupported' && method === 'CONNECT'),
    );
    expect(told.authority).toBe(lab.api.host());
  });

  test('gives way to HTTP/1.1 where the agent speaks both', async () => {
    const agent = await lab.tunnel(undefined, { ALPNProtocols: ['h2', 'http/1.1'] });
    expect((agent.socket as { alpnProtocol?: unknown }).alpnProtocol).toBe('http/1.1');
    agent.close();
  });

  test('by prior knowledge is refused with a reason, in a tunnel and at the proxy port', async () => {
    const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0';
    for (const answer of [await lab.ask(preface), await lab.askInTunnel(preface)])
      expect([answer.status, answer.fields.get('sidekey-error')]).toEqual([505, 'Http2NotSupported']);
    expect(lab.api.bytes).toBe('');
  });
});
