import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../../../sidecar/link/testkit.ts';
import { LOOPBACK } from '../../sidecar/sidecarProcess.ts';
import { REFUSED, TAKEN } from '../http1/corpus.ts';
import { BEARER, Lab, refusalOf } from './lab.ts';
import { type Received, readRequests } from './rawUpstream.ts';

/** Refused for their size by a smaller limit than that of the process; sizes are tested with rule 12. */
const BY_SIZE = new Set(['a head past the limit', 'a target past the limit']);
/** Taken by the codec, but here: refused under path rules, longer by our host than its length says, closed after one answer. */
const OTHERWISE = new Set([
  'a target with every odd character',
  'a body that looks like a request',
  'HTTP/1.0 that keeps the connection',
]);
/** Of the corpus, what can be said in a tunnel to one host. */
const IN_TUNNEL = TAKEN.filter(
  ({ name, message }) =>
    !OTHERWISE.has(name) && !/CONNECT|http:|HTTP:/.test(message) && /Host: ?a\.example\r\n/i.test(message),
);

let lab: Lab;

beforeAll(async () => {
  lab = await Lab.start((made) => ({
    integrations: {
      'default/example': {
        hosts: [made.api.host()],
        alias: 'example',
        allowedNetworks: LOOPBACK,
        rules: [{ action: 'Deny', paths: [{ type: 'PathPrefix', value: '/denied' }] }],
      },
    },
  }));
});
afterAll(() => lab?.close());
beforeEach(() => lab.api.forget());

/** With our host in place of that of the corpus. */
const toUs = (message: string) => message.replaceAll('a.example', lab.api.host());
const seen = () => lab.api.requests.map(({ method, target }) => `${method} ${target}`);

describe('the upstream never gets to see', () => {
  test.each(REFUSED.filter(({ name }) => !BY_SIZE.has(name)))(
    '$name',
    async ({ message, code = 'MalformedRequest' }) => {
      const agent = await lab.tunnel();
      const answer = await agent.send(toUs(message)).answer();
      expect(answer.fields.get('sidekey-error')).toBe(code);
      await agent.rest();
      expect(lab.api.requests).toEqual([]);
      expect(lab.api.bytes).not.toContain('/smuggled');
    },
  );

  test('an ambiguous message, also at the proxy port', async () => {
    for (const { name, message } of REFUSED.filter((refused) => refused.code === undefined)) {
      const agent = await lab.open();
      const answer = await agent.send(message.replaceAll('a.example', `127.0.0.1:${lab.sidecar.proxyPort}`)).answer();
      expect([name, answer.status], name).toEqual([name, answer.status >= 400 ? answer.status : 'refused']);
      agent.close();
    }
    expect(lab.api.requests).toEqual([]);
  });

  test('paths whose meaning depends on who decodes them', async () => {
    const paths = [
      '/../denied',
      '/a/../denied',
      '/%2e%2e/denied',
      '/.%2E/denied',
      '/a/..%2fdenied',
      '/x/..;/denied',
      '/\\denied',
    ];
    const underRules = [
      '//denied',
      '/a//b',
      '/%2fdenied',
      '/%64enied',
      '/denied%2f',
      '/x;a=b/denied',
      '/x%5cdenied',
      '/%zz',
    ];
    for (const path of [...paths, ...underRules])
      expect([path, refusalOf(await lab.get(path))]).toEqual([path, '400 AmbiguousPath']);
    expect(lab.api.bytes).toBe('');
  });
});

describe('what is taken arrives as what was decided on, rebuilt', () => {
  test.each(IN_TUNNEL)('$name', async ({ message, rebuilt = message }) => {
    const expected = readRequests(Buffer.from(toUs(rebuilt), 'latin1'));
    const agent = await lab.tunnel();
    agent.send(toUs(message));
    for (const { method } of expected) await agent.answer(method);
    agent.socket.end();
    await agent.rest();
    expect(lab.api.requests.map(comparable)).toEqual(expected.map(comparable));
    expect(lab.api.requests.map(({ fields }) => fields.filter(([name]) => name === 'Authorization'))).toEqual(
      expected.map(() => [['Authorization', BEARER]]),
    );
  });
});

function comparable({ method, target, fields, body }: Received) {
  const sent = fields
    .filter(([name]) => !/^(host|authorization)$/i.test(name))
    .map(([name, value]) => `${name}: ${value}`);
  return { method, target, sent, body: body.toString('latin1') };
}

describe('one request cannot hide another', () => {
  const smuggled = () => `DELETE /denied HTTP/1.1\r\nHost: ${lab.api.host()}\r\nX: `;
  const post = (fields: string, body: string) => `POST /p HTTP/1.1\r\nHost: ${lab.api.host()}\r\n${fields}\r\n${body}`;
  const attacks: Record<string, () => string> = {
    'CL.TE': () =>
      post(`Content-Length: ${5 + smuggled().length}\r\nTransfer-Encoding: chunked\r\n`, `0\r\n\r\n${smuggled()}`),
    'TE.CL': () =>
      post(
        'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n',
        `${smuggled().length.toString(16)}\r\n${smuggled()}\r\n0\r\n\r\n`,
      ),
    ...Object.fromEntries(
      [
        'Transfer-Encoding: xchunked',
        'Transfer-Encoding : chunked',
        'Transfer-Encoding: chunked\r\nTransfer-Encoding: x',
        'Transfer-Encoding:\tchunked, identity',
        'X: X\nTransfer-Encoding: chunked',
        'Transfer-Encoding\r\n : chunked',
        'Transfer_Encoding: chunked\r\nTransfer-Encoding: identity',
        'Content-Length: 0\r\nContent-Length: 44',
      ].map((fields) => [
        `TE.TE ${JSON.stringify(fields)}`,
        () => post(`Content-Length: 5\r\n${fields}\r\n`, `0\r\n\r\n${smuggled()}`),
      ]),
    ),
  };

  test.each(Object.keys(attacks))('%s, and the next agent gets its own answer', async (name) => {
    lab.api.answer = ({ target }, socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${target.length}\r\n\r\n${target}`);
    };
    const attacker = await lab.tunnel();
    attacker.send(attacks[name]!());
    expect(refusalOf(await attacker.answer())).toBe('400 MalformedRequest');
    const victim = await lab.get('/victim');
    expect([victim.status, victim.body.toString()]).toEqual([200, '/victim']);
    expect(seen()).toEqual(['GET /victim']);
  });

  test('a request in the body of another stays body', async () => {
    const inner = `${smuggled()}\r\n\r\n`;
    await lab.askInTunnel(post(`Content-Length: ${inner.length}\r\n`, inner), undefined, 'POST');
    await lab.askInTunnel(
      post('Transfer-Encoding: chunked\r\n', `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`),
    );
    expect(lab.api.requests.map(({ target, body }) => [target, body.toString('latin1')])).toEqual([
      ['/p', inner],
      ['/p', inner],
    ]);
  });

  test('a pipelined request is decided on its own', async () => {
    const agent = await lab.tunnel();
    const host = lab.api.host();
    agent.send(
      `GET /1 HTTP/1.1\r\nHost: ${host}\r\n\r\nDELETE /denied HTTP/1.1\r\nHost: ${host}\r\n\r\n` +
        `GET /2 HTTP/1.1\r\nHost: other.localhost\r\n\r\nGET /3 HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
    );
    const answers = [await agent.answer(), await agent.answer(), await agent.answer(), await agent.answer()];
    expect(answers.map(refusalOf)).toEqual([
      '200 no refusal',
      '403 RuleDenied',
      '421 AuthorityMismatch',
      '200 no refusal',
    ]);
    expect(seen()).toEqual(['GET /1', 'GET /3']);
    agent.close();
  });

  test('an answer that nobody asked for reaches nobody', async () => {
    const mine = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine';
    const poisoned = 'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned';
    for (const laterMs of [undefined, 0, 30]) {
      lab.api.answer = (_, socket) => {
        if (laterMs === undefined) socket.write(mine + poisoned);
        else socket.write(mine, () => setTimeout(() => socket.write(poisoned), laterMs));
      };
      const first = await lab.get('/1');
      await new Promise((resolve) => setTimeout(resolve, 60));
      lab.api.answer = (_, socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nyours');
      const second = await lab.get('/2');
      expect([first.body.toString(), second.body.toString()]).toEqual(['mine', 'yours']);
    }
  });

  test('an ambiguous answer is not handed on', async () => {
    const heads = [
      'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n',
      'Content-Length: 4\r\nContent-Length: 5\r\n',
      'Transfer-Encoding: xchunked\r\n',
      'X: a\nSet-Cookie: b=c\r\nContent-Length: 0\r\n',
      'X : a\r\nContent-Length: 0\r\n',
    ];
    for (const head of heads) {
      lab.api.answer = (_, socket) => socket.end(`HTTP/1.1 200 OK\r\n${head}\r\n0\r\n\r\n`);
      expect([head, refusalOf(await lab.get('/'))]).toEqual([head, '502 UpstreamMalformed']);
    }
  });
});

test('a head that comes byte by byte is judged the same', async () => {
  const agent = await lab.tunnel();
  for (const byte of `GET / HTTP/1.1\r\nHost: ${lab.api.host()}\r\nHost: ${lab.api.host()}\r\n\r\n`) agent.send(byte);
  expect(refusalOf(await agent.answer())).toBe('400 MalformedRequest');
  await until(async () => (await lab.usage()).some(({ refusal }) => refusal === 'MalformedRequest'));
  expect(lab.api.bytes).toBe('');
});
