import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { placeholderOf } from '../../../api/placeholder.ts';
import { LOOPBACK } from '../../sidecar/sidecarProcess.ts';
import { AgentConnection } from './agentConnection.ts';
import { BEARER, Lab, refusalOf, SECRET, withDns } from './lab.ts';
import type { RawUpstream } from './rawUpstream.ts';

const OTHER_SECRET = 'sk-of-another-host-entirely';
let lab: Lab;
/** Granted as well, with another credential. */
let other: RawUpstream;
/** Answers under a covered name, but with the certificate of another. */
let impostor: RawUpstream;
/** Where the name leads at first, and where it leads later. */
let honest: RawUpstream;
let rebound: RawUpstream;
let placeholder: string;
let otherPlaceholder: string;

beforeAll(async () => {
  lab = await Lab.start(async (made) => {
    other = await made.upstream(['other.localhost']);
    impostor = await made.upstream(['somebody-else.localhost']);
    [honest, rebound] = await made.upstreamPair(['rebinding.test', 'two-faced.test']);
    const hosts = [
      made.api.host(),
      impostor.host('impostor.localhost'),
      ...['rebinding.test', 'two-faced.test'].map((name) => honest.host(name)),
    ];
    placeholder = placeholderOf({ key: 'default/key', hosts });
    otherPlaceholder = placeholderOf({ key: 'default/other', hosts: [other.host()] });
    return {
      ...withDns({
        'rebinding.test': [['127.0.0.2'], ['127.0.0.1']],
        'two-faced.test': [['127.0.0.1', '127.0.0.2']],
      }),
      credentials: {
        'default/key': { hosts, material: SECRET },
        'default/other': { hosts: [other.host()], material: OTHER_SECRET },
      },
      integrations: {
        'default/example': { hosts: hosts.slice(0, 2), alias: 'example', placeholder, allowedNetworks: LOOPBACK },
        'default/narrow': { hosts: hosts.slice(2), placeholder, allowedNetworks: ['127.0.0.2/32'] },
        'default/other': {
          credential: 'default/other',
          hosts: [other.host()],
          alias: 'other',
          placeholder: otherPlaceholder,
          allowedNetworks: LOOPBACK,
        },
      },
    };
  });
});
afterAll(() => lab?.close());
beforeEach(() => {
  for (const upstream of [lab.api, other, impostor, honest, rebound]) upstream.forget();
});

const nothingArrived = () => {
  for (const upstream of [lab.api, other, impostor]) expect(upstream.bytes).toBe('');
};

test('in a tunnel to one host, Host cannot name another, covered or not', async () => {
  const api = lab.api.host();
  for (const host of [other.host(), 'api.localhost', `api.localhost:${lab.api.port + 1}`, `evil.${api}`, '127.0.0.1']) {
    const answer = await lab.askInTunnel(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    expect([host, refusalOf(answer)]).toEqual([host, '421 AuthorityMismatch']);
  }
  nothingArrived();
});

test('in a tunnel to one host, an absolute target cannot name another host, port or scheme', async () => {
  const api = lab.api.host();
  for (const target of [
    `https://${other.host()}/`,
    `http://${api}/`,
    'https://api.localhost/',
    `http://other.localhost/`,
  ]) {
    for (const host of [api, target.split('/')[2]!]) {
      const answer = await lab.askInTunnel(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      expect([target, host, refusalOf(answer)]).toEqual([target, host, '421 AuthorityMismatch']);
    }
  }
  nothingArrived();
});

test('SNI cannot name another host than CONNECT', async () => {
  const agent = await lab.tunnel(lab.api.host(), {
    servername: 'other.localhost',
    checkServerIdentity: () => undefined,
  });
  const answer = await agent.send(`GET / HTTP/1.1\r\nHost: ${lab.api.host()}\r\n\r\n`).answer();
  expect(refusalOf(answer)).toBe('421 AuthorityMismatch');
  nothingArrived();
});

test('Host of CONNECT cannot name another host than its target', async () => {
  const answer = await lab.ask(`CONNECT ${lab.api.host()} HTTP/1.1\r\nHost: ${other.host()}\r\n\r\n`, 'CONNECT');
  expect(refusalOf(answer)).toBe('421 AuthorityMismatch');
});

test('at the proxy, Host cannot name another host than an absolute target', async () => {
  const answer = await lab.ask(`GET https://${lab.api.host()}/ HTTP/1.1\r\nHost: ${other.host()}\r\n\r\n`);
  expect(refusalOf(answer)).toBe('421 AuthorityMismatch');
  nothingArrived();
});

test('at the proxy, a path with the Host of somebody else is not forwarded', async () => {
  const answer = await lab.ask(`GET /example/ HTTP/1.1\r\nHost: ${lab.api.host()}\r\n\r\n`);
  expect(refusalOf(answer)).toBe('421 AuthorityMismatch');
  nothingArrived();
});

test('an alias leads to its own host only, whatever path or Host the agent adds', async () => {
  await lab.get(`/https://${other.host()}/`);
  expect(lab.api.last.target).toBe(`/https://${other.host()}/`);
  await lab.ask(`GET /other HTTP/1.1\r\nHost: example.sidekey.internal:${lab.sidecar.proxyPort}\r\n\r\n`);
  expect([lab.api.last.target, lab.api.sent('authorization')]).toEqual(['/other', [BEARER]]);
  const answer = await lab.ask('GET / HTTP/1.1\r\nHost: other.example.sidekey.internal\r\n\r\n');
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(other.bytes).toBe('');
});

test('Host is written from the authority, however the agent spelled it', async () => {
  const port = lab.api.port;
  for (const spelling of [`API.LOCALHOST:${port}`, `api.localhost.:${port}`, `api.localhost:0${port}`]) {
    lab.api.forget();
    const answer = await lab.askInTunnel(`GET / HTTP/1.1\r\nHost: ${spelling}\r\n\r\n`);
    if (answer.status === 200) expect(lab.api.sent('host')).toEqual([lab.api.host()]);
    else expect(lab.api.bytes).toBe('');
  }
  await lab.get('/', 'X-Forwarded-Host: other.localhost\r\n');
  expect(lab.api.sent('host')).toEqual([lab.api.host()]);
});

test('a server with the certificate of another name never gets a byte', async () => {
  const answer = await lab.askInTunnel(
    `GET / HTTP/1.1\r\nHost: ${impostor.host('impostor.localhost')}\r\n\r\n`,
    impostor.host('impostor.localhost'),
  );
  expect(refusalOf(answer)).toBe('502 UpstreamCertificateInvalid');
  expect(impostor.bytes).toBe('');
});

test('a name that leads elsewhere a moment later does not take the credential there', async () => {
  const authority = honest.host('rebinding.test');
  for (let i = 0; i < 3; i++) {
    const answer = await lab.askInTunnel(
      `GET / HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`,
      authority,
    );
    expect(answer.status).toBe(200);
  }
  expect([honest.requests.length, rebound.bytes]).toEqual([3, '']);
});

test('of two addresses only the one that is allowed is dialled', async () => {
  const authority = honest.host('two-faced.test');
  await lab.askInTunnel(`GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`, authority);
  expect([honest.requests.length, rebound.connections]).toEqual([1, 0]);
});

test('a placeholder cannot steer its credential to another host', async () => {
  for (const at of [
    `Authorization: Bearer ${placeholder}\r\n`,
    `X-Key: ${placeholder}\r\n`,
    `Cookie: a=${placeholder}\r\n`,
  ]) {
    expect(refusalOf(await lab.get('/', at, 'other'))).toBe('403 PlaceholderNotGranted');
  }
  expect(refusalOf(await lab.get(`/?key=${placeholder}`, '', 'other'))).toBe('403 PlaceholderNotGranted');
  nothingArrived();
  await lab.get('/', `Authorization: Bearer ${otherPlaceholder}\r\n`, 'other');
  expect(other.sent('authorization')).toEqual([`Bearer ${OTHER_SECRET}`]);
  expect(other.bytes).not.toContain(SECRET);
});

test('a connection that was opened for one host is not used for another', async () => {
  const agent = await AgentConnection.open(lab.sidecar.proxyPort);
  for (const [upstream, alias] of [
    [lab.api, 'example'],
    [other, 'other'],
    [lab.api, 'example'],
  ] as const) {
    await agent.send(`GET /${alias}/ HTTP/1.1\r\nHost: 127.0.0.1:${lab.sidecar.proxyPort}\r\n\r\n`).answer();
    expect(upstream.sent('host')).toEqual([upstream.host()]);
  }
  expect(lab.api.bytes).not.toContain(OTHER_SECRET);
  expect(other.bytes).not.toContain(SECRET);
  agent.close();
});
