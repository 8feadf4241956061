import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { REFUSALS, type RefusalCode } from '../../../sidecar/errors.ts';
import { until } from '../../../sidecar/link/testkit.ts';
import { LOOPBACK, type SidecarProcess } from '../../sidecar/sidecarProcess.ts';
import { AgentConnection, type Answer } from './agentConnection.ts';
import { formsOf, found } from './forms.ts';
import { Lab, SECRET, withDns } from './lab.ts';
import type { RawUpstream } from './rawUpstream.ts';

/** What no agent can bring about within the time of a test, and where it is tested instead. */
const ELSEWHERE: Partial<Record<RefusalCode, string>> = {
  InternalError: 'a fault of ours: sidecar/exchange',
  NoAuthority: 'only where connections are captured: sidecar/listen/captured.test.ts',
  Overloaded: 'with rule 12',
  UpstreamTimeout: 'minutes of silence: sidecar/exchange',
};
const NAMES = ['refused', 'limited', 'void', 'loop', 'cut', 'bad', 'impostor', 'gone', 'missing'].map(
  (name) => `${name}.localhost`,
);
let lab: Lab;
let plain: RawUpstream;
let impostor: RawUpstream;
const tried = new Set<RefusalCode>();
/** Begun at the start, as it takes ten seconds: a head that does not come to its end. */
let slow: AgentConnection;

beforeAll(async () => {
  lab = await Lab.start(async (made) => {
    plain = await made.plainUpstream(['plain.localhost']);
    impostor = await made.upstream(['nobody.localhost']);
    const named = (name: string) => made.api.host(`${name}.localhost`);
    const hosts = [
      ...NAMES.map((name) => made.api.host(name)),
      made.api.host(),
      plain.host(),
      impostor.host('impostor.localhost'),
      'nowhere.test',
      'closed.localhost:1',
    ];
    const one = { allowedNetworks: LOOPBACK };
    return {
      ...withDns({}),
      credentials: { 'default/key': { hosts, material: SECRET }, 'default/void': { hosts } },
      integrations: {
        'default/example': {
          ...one,
          hosts: [
            made.api.host(),
            plain.host(),
            impostor.host('impostor.localhost'),
            'nowhere.test',
            'closed.localhost:1',
          ],
          alias: 'example',
          rules: [{ action: 'Deny', paths: [{ type: 'PathPrefix', value: '/denied' }] }],
        },
        'default/refused': { hosts: [named('refused')], alias: 'refused' },
        'default/limited': {
          ...one,
          hosts: [named('limited')],
          alias: 'limited',
          limits: [{ requests: 1, windowSeconds: 3600 }],
        },
        'default/void': { ...one, hosts: [named('void')], alias: 'void', credential: 'default/void' },
      },
    };
  }, NAMES);
  slow = await lab.open();
  slow.send('GET / HTTP/1.1\r\nX: ');
});
afterAll(() => lab?.close());
let sidecar: SidecarProcess | undefined;
beforeEach(() => lab.api.forget());
afterEach(async () => {
  // Not killed: it has yet to tell the store of what it refused.
  await sidecar?.stop();
  sidecar = undefined;
});

const byAlias = (rest: string, fields = '', port = lab.sidecar.proxyPort) =>
  `GET /${rest} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${fields}\r\n`;
const byURL = (scheme: string, authority: string) =>
  `GET ${scheme}://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;

/** The answer is a refusal by the letter: field, status, JSON, reason, and nothing of our inside. */
function expectRefusal(answer: Answer, code: RefusalCode): void {
  tried.add(code);
  const { status, retryable } = REFUSALS[code];
  expect([answer.status, answer.fields.get('sidekey-error')]).toEqual([status, code]);
  expect(answer.fields.get('content-type')).toBe('application/json');
  const { error } = JSON.parse(answer.body.toString());
  expect(error).toMatchObject({ type: 'sidekey', code, retryable });
  expect(error.message.length).toBeGreaterThan(20);
  const text = `${answer.head}${answer.body}`;
  const store = new URL(lab.store.process.storeUrl);
  for (const inside of [
    store.host,
    store.port,
    process.cwd(),
    '/tmp',
    'node:',
    '.ts',
    'node_modules',
    'undefined',
    '[object',
    'Error:',
    '\n    at ',
  ])
    expect(text).not.toContain(inside);
  expect(found(Buffer.from(text), formsOf(SECRET))).toEqual([]);
}

const attacks: Partial<Record<RefusalCode, () => string | Promise<string>>> = {
  MalformedRequest: () => 'GET / HTTP/1.1\r\n\r\n',
  HeadTooLarge: () => byAlias('example', `X: ${'x'.repeat(70_000)}\r\n`),
  MethodRefused: () => byAlias('example').replace('GET', 'TRACE'),
  Http2NotSupported: () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  AmbiguousPath: () => byAlias('example/../x'),
  RuleDenied: () => byAlias('example/denied'),
  PlaceholderNotGranted: () => byAlias('example/', `X: sidekeyPlaceholder${'0'.repeat(32)}\r\n`),
  PlaintextRefused: () => byURL('http', plain.host()),
  AddressRefused: () => byAlias('refused/'),
  CrossSiteRefused: () => byAlias('example/', 'Sec-Fetch-Site: cross-site\r\n'),
  UnknownAlias: () => byAlias('nobody/'),
  AuthorityMismatch: () => byAlias('x').replace(/Host: .*/, 'Host: api.example'),
  LoopDetected: () => byURL('https', `127.0.0.1:${lab.sidecar.healthPort}`),
  UpstreamUnresolved: () => byURL('https', 'nowhere.test'),
  UpstreamUnreachable: () => byURL('https', 'closed.localhost:1'),
  UpstreamCertificateInvalid: () => byURL('https', impostor.host('impostor.localhost')),
  CredentialUnavailable: () => byAlias('void/'),
  UpstreamReset: () => {
    lab.api.answer = (_, socket) => socket.destroy();
    return byAlias('example/');
  },
  UpstreamMalformed: () => {
    lab.api.answer = (_, socket) => socket.end('SSH-2.0-OpenSSH_9.9\r\n\r\n');
    return byAlias('example/');
  },
  LimitExceeded: async () => {
    await lab.ask(byAlias('limited/'));
    return byAlias('limited/');
  },
};

describe('a refusal says why, and nothing of our inside', () => {
  test.each(Object.keys(attacks) as RefusalCode[])('%s', async (code) => {
    const answer = await lab.ask(await attacks[code]!());
    expectRefusal(answer, code);
    if (code === 'LimitExceeded') expect(Number(answer.fields.get('retry-after'))).toBeGreaterThan(3000);
  });

  test('NoIntegration: egress is closed', async () => {
    sidecar = await lab.another({ egress: 'Closed' });
    for (const request of [
      byURL('https', 'a.example'),
      'CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n',
    ])
      expectRefusal(await (await AgentConnection.open(sidecar.proxyPort)).send(request).answer(), 'NoIntegration');
  });

  test('UpstreamProxyRefused: the proxy that the sidecar must use says no', async () => {
    const proxy = await lab.plainUpstream(['proxy.localhost']);
    proxy.answer = (_, socket) => socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n');
    sidecar = await lab.another({
      env: { PATH: process.env.PATH, HTTPS_PROXY: `http://user:pass-of-the-proxy@127.0.0.1:${proxy.port}` },
    });
    const answer = await (await AgentConnection.open(sidecar.proxyPort)).send(byURL('https', 'nowhere.test')).answer();
    expectRefusal(answer, 'UpstreamProxyRefused');
    expect(answer.body.toString()).not.toContain('pass-of-the-proxy');
    expect(found(Buffer.from(proxy.bytes), formsOf(SECRET))).toEqual([]);
  });

  test('Draining: the sidecar is stopping', async () => {
    sidecar = await lab.another({});
    const agent = await AgentConnection.open(sidecar.proxyPort);
    let release = () => {};
    lab.api.answer = (_, socket) => {
      release = () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    };
    const request = byAlias('example/', '', sidecar.proxyPort);
    agent.send(request);
    await until(() => lab.api.requests.length > 0);
    agent.send(request);
    const late = await AgentConnection.open(sidecar.proxyPort);
    late.send(request.slice(0, 20));
    await new Promise((resolve) => setTimeout(resolve, 50));
    sidecar.child.kill('SIGTERM');
    await until(async () => (await sidecar!.health('/readyz')).status === 503);
    late.send(request.slice(20));
    expectRefusal(await late.answer(), 'Draining');
    release();
    await agent.answer();
    await sidecar.exited();
  });

  test('Revoked: the session is over', async () => {
    sidecar = await lab.another({});
    const { proxyPort } = sidecar;
    await lab.store.endSession((await lab.store.sessions()).at(-1)!.id);
    const answer = await until(async () => {
      const got = await (await AgentConnection.open(proxyPort)).send(byAlias('example/', '', proxyPort)).answer();
      return got.status === 403 && got;
    });
    expectRefusal(answer, 'Revoked');
  });

  test('StoreUnavailable: the store is away before there is a lease', async () => {
    const away = await Lab.start(undefined, ['late.localhost']);
    try {
      const host = away.api.host('late.localhost');
      await away.store.credential({ hosts: [host] }, 'default/late');
      await away.store.material(SECRET, 'default/late');
      await away.store.integration({ hosts: [host], alias: 'late', credential: 'default/late' }, 'default/late');
      await until(() => away.sidecar.log.join('').includes('default/late'));
      await away.store.process.kill();
      const answer = await away.get('/', '', 'late');
      expectRefusal(answer, 'StoreUnavailable');
      expect(Number(answer.fields.get('retry-after'))).toBeGreaterThan(0);
      expect(answer.body.toString()).not.toContain(new URL(away.store.process.storeUrl).port);
    } finally {
      await away.close();
    }
  });
});

test('RequestTimeout: a head that does not come to its end', async () => {
  expectRefusal(await slow.answer(), 'RequestTimeout');
});

test('every code that an agent can bring about is tried here, and is in the audit', async () => {
  const missing = Object.keys(REFUSALS).filter((code) => !tried.has(code as RefusalCode) && !(code in ELSEWHERE));
  expect(missing).toEqual([]);
  // Of a session that is over, or while the store is away, it takes no reports.
  const expected = [...tried].filter((code) => code !== 'Revoked' && code !== 'StoreUnavailable').sort();
  const told = async () => new Set((await lab.usage()).flatMap(({ refusal }) => refusal ?? []));
  await until(async () => {
    const codes = await told();
    return expected.every((code) => codes.has(code));
  }).catch(() => {});
  expect([...(await told())].sort()).toEqual(expected);
  for (const { refusal, status } of await lab.usage())
    if (refusal !== undefined) expect([refusal, status]).toEqual([refusal, REFUSALS[refusal as RefusalCode].status]);
});
