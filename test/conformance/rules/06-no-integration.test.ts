import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LOOPBACK, type SidecarProcess } from '../../sidecar/sidecarProcess.ts';
import { AgentConnection } from './agentConnection.ts';
import { formsOf, found } from './forms.ts';
import { BEARER, Lab, refusalOf, SECRET } from './lab.ts';
import type { RawUpstream } from './rawUpstream.ts';

let lab: Lab;
let closed: SidecarProcess;
let stranger: RawUpstream;
let plain: RawUpstream;

beforeAll(async () => {
  lab = await Lab.start(async (made) => {
    stranger = await made.upstream(['stranger.localhost', '127.0.0.1']);
    plain = await made.plainUpstream(['stranger.localhost']);
    return {
      integrations: {
        'default/example': {
          hosts: [made.api.host()],
          alias: 'example',
          allowedNetworks: LOOPBACK,
          rules: [
            { action: 'Allow', methods: ['GET'], paths: [{ type: 'PathPrefix', value: '/v1' }] },
            { action: 'Deny', paths: [{ type: 'Exact', value: '/v1/keys' }] },
          ],
        },
      },
    };
  });
  closed = await lab.another({ egress: 'Closed' });
});
afterAll(async () => {
  await closed?.close();
  await lab?.close();
});
beforeEach(() => {
  for (const upstream of [lab.api, stranger, plain]) upstream.forget();
});

const noMaterial = (upstream: RawUpstream) =>
  expect(found(Buffer.from(upstream.bytes, 'latin1'), formsOf(SECRET))).toEqual([]);

describe('a host of no Integration, while egress is open', () => {
  test('gets plain http as the agent sent it, without a credential', async () => {
    const host = plain.host();
    const fields = 'Authorization: Bearer own\r\nX_Odd: a\r\nCookie: c=d\r\nAccept-Encoding: gzip\r\n';
    await lab.ask(`POST http://${host}/a?b HTTP/1.1\r\nHost: ${host}\r\n${fields}Content-Length: 2\r\n\r\nhi`);
    expect(plain.bytes).toBe(`POST /a?b HTTP/1.1\r\nHost: ${host}\r\n${fields}Content-Length: 2\r\n\r\nhi`);
    noMaterial(plain);
  });

  test('gets the bytes of a tunnel as they are', async () => {
    const bytes = `GET / HTTP/1.1\r\nHost: whatever\r\nHost: twice\r\nAuthorization: Bearer own\r\n\r\n`;
    await (await lab.tunnel(stranger.host())).send(bytes).answer();
    expect(stranger.bytes).toBe(bytes);
  });

  test('gets no credential by the name, port or scheme of a covered one', async () => {
    for (const authority of [stranger.host('127.0.0.1'), stranger.host(), `api.localhost:${plain.port}`]) {
      const scheme = authority.endsWith(`${plain.port}`) ? 'http' : 'https';
      await lab.ask(`GET ${scheme}://${authority}/v1 HTTP/1.1\r\nHost: ${authority}\r\nX: api.localhost\r\n\r\n`);
    }
    expect(stranger.requests.length + plain.requests.length).toBe(3);
    for (const upstream of [stranger, plain]) {
      noMaterial(upstream);
      expect(upstream.bytes).not.toMatch(/^authorization/im);
    }
  });
});

describe('a host of no Integration, while egress is closed', () => {
  test('is not reached by URL or tunnel, and the agent is told why', async () => {
    for (const [authority, scheme] of [
      [stranger.host(), 'https'],
      [plain.host(), 'http'],
      [stranger.host('127.0.0.1'), 'https'],
    ]) {
      const requests = [
        `GET ${scheme}://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`,
        `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`,
      ];
      for (const request of requests) {
        const agent = await AgentConnection.open(closed.proxyPort);
        const answer = await agent.send(request).answer(request.slice(0, 7));
        expect(refusalOf(answer)).toBe('403 NoIntegration');
        expect(answer.body.toString()).toContain('No Integration of this session');
        agent.close();
      }
    }
    expect([stranger.connections, plain.connections]).toEqual([0, 0]);
  });

  test('hosts of Integrations are', async () => {
    const agent = await AgentConnection.tunnel(closed.proxyPort, lab.api.host(), { ca: closed.caPem });
    expect((await agent.send(`GET /v1 HTTP/1.1\r\nHost: ${lab.api.host()}\r\n\r\n`).answer()).status).toBe(200);
    expect(lab.api.sent('authorization')).toEqual([BEARER]);
    agent.close();
  });
});

describe('what the rules of an Integration deny', () => {
  const denied = ['GET /', 'POST /v1/models', 'GET /v1/keys', 'GET /v10', 'HEAD /v1', 'BREW /v1', 'GET /V1', 'get /v1'];

  test.each(denied)('%s is refused, and never forwarded bare', async (line) => {
    const [method, path] = line.split(' ') as [string, string];
    const host = lab.api.host();
    const inTunnel = await lab.askInTunnel(`${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`, host, method);
    const byURL = await lab.ask(`${method} https://${host}${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`, method);
    const own = `127.0.0.1:${lab.sidecar.proxyPort}`;
    const byAlias = await lab.ask(`${method} /example${path} HTTP/1.1\r\nHost: ${own}\r\n\r\n`, method);
    expect([inTunnel, byURL, byAlias].map(refusalOf)).toEqual(
      Array(3).fill(method === 'get' ? '405 MethodRefused' : '403 RuleDenied'),
    );
    expect(lab.api.connections).toBe(0);
  });

  test('says which Integration and why', async () => {
    const { error } = JSON.parse((await lab.get('/v1/keys')).body.toString());
    expect(error.message).toContain('default/example');
    expect(error).toMatchObject({ code: 'RuleDenied', retryable: false });
  });
});
