import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { placeholderOf } from '../../../api/placeholder.ts';
import { until } from '../../../sidecar/link/testkit.ts';
import { LOOPBACK } from '../../sidecar/sidecarProcess.ts';
import type { AgentConnection } from './agentConnection.ts';
import { formsOf, found } from './forms.ts';
import { BEARER, Lab, refusalOf, SECRET } from './lab.ts';

const FORMS = formsOf(SECRET);
const MASKED = '*'.repeat(SECRET.length);
const NAMES = ['basic.localhost', 'query.localhost', 'slot.localhost'];
let lab: Lab;
let agent: AgentConnection;
let placeholder: string;

beforeAll(async () => {
  lab = await Lab.start((made) => {
    const hosts = [made.api.host(), ...NAMES.map((name) => made.api.host(name))];
    placeholder = placeholderOf({ key: 'default/key', hosts });
    const at = (name: string, inject: object[]) => ({
      hosts: [made.api.host(`${name}.localhost`)],
      alias: name,
      allowedNetworks: LOOPBACK,
      placeholder,
      inject,
    });
    return {
      credentials: { 'default/key': { hosts, material: SECRET } },
      integrations: {
        'default/example': at('api', [{ bearer: {} }]),
        'default/basic': at('basic', [{ basic: { username: 'agent' } }]),
        'default/query': at('query', [{ query: { name: 'key' } }]),
        'default/slot': at('slot', [{ placeholder: { in: ['Header', 'Query', 'Path', 'Body'] } }]),
      },
    };
  }, NAMES);
});
afterAll(() => lab?.close());
beforeEach(async () => {
  lab.api.forget();
  agent = await lab.open();
});

const request = (alias = 'api', path = '/', fields = '') =>
  `GET /${alias}${path} HTTP/1.1\r\nHost: 127.0.0.1:${lab.sidecar.proxyPort}\r\n${fields}\r\n`;
/** The upstream answers with these bytes, each piece in a write of its own. */
const answersWith = (...pieces: (string | Buffer)[]) => {
  lab.api.answer = async (_, socket) => {
    for (const piece of pieces) {
      socket.write(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece);
      if (pieces.length > 1) await new Promise((resolve) => setTimeout(resolve, 2));
    }
  };
};
const withLength = (body: string | Buffer, fields = '', status = '200 OK') =>
  Buffer.concat([
    Buffer.from(`HTTP/1.1 ${status}\r\n${fields}Content-Length: ${body.length}\r\n\r\n`),
    Buffer.from(body as string),
  ]);
/** Nothing that the agent has received so far holds the material in any form. */
const clean = () => expect(found(agent.received, FORMS)).toEqual([]);

describe('the agent never sees what an upstream echoes', () => {
  test('in fields, in the reason, and in early answers', async () => {
    answersWith(
      `HTTP/1.1 103 Early Hints\r\nLink: <${SECRET}>\r\n\r\nHTTP/1.1 200 ${SECRET}\r\nX-Echo: ${BEARER}\r\n` +
        `X-${FORMS[4]}: 1\r\nSet-Cookie: k=${encodeURIComponent(SECRET)}\r\nContent-Length: 0\r\n\r\n`,
    );
    const answer = await agent.send(request()).answer();
    expect([answer.status, answer.fields.get('x-echo')]).toEqual([200, `Bearer ${MASKED}`]);
    clean();
  });

  test.each([
    ['as it is', SECRET],
    ['in a URL', encodeURIComponent(SECRET)],
    ['in JSON', JSON.stringify({ key: SECRET })],
    ['in base64', Buffer.from(SECRET).toString('base64')],
    ['in base64, behind one byte', Buffer.from(`a${SECRET}`).toString('base64')],
    ['in base64, behind two bytes', Buffer.from(`ab${SECRET}cd`).toString('base64')],
    ['twice without anything between', SECRET + SECRET],
    ['after a false start', `${SECRET.slice(0, 9)}${SECRET.slice(0, 20)}${SECRET}`],
  ])('in a body, %s', async (_, echo) => {
    answersWith(withLength(`before ${echo} after`));
    const { body } = await agent.send(request()).answer();
    expect(body.toString('latin1')).toMatch(/^before .*\*{8}.* after$/);
    expect(body.length).toBe(`before ${echo} after`.length);
    clean();
  });

  test('in a body that is cut anywhere, into chunks or by the network', async () => {
    const body = `{"key":"${SECRET}"}`;
    for (let at = 1; at < body.length; at++) {
      const [head, tail] = [body.slice(0, at), body.slice(at)];
      answersWith(
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
        `${head.length.toString(16)}\r\n${head}\r\n`,
        `${tail.length.toString(16)}\r\n${tail}\r\n0\r\n\r\n`,
      );
      expect((await agent.send(request()).answer()).body.toString('latin1')).toBe(`{"key":"${MASKED}"}`);
      const whole = withLength(body);
      answersWith(whole.subarray(0, -at), whole.subarray(-at));
      expect((await agent.send(request()).answer()).body.toString('latin1')).toBe(`{"key":"${MASKED}"}`);
    }
    clean();
  });

  test('in a body of one byte a chunk', async () => {
    answersWith(
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${[...SECRET].map((c) => `1\r\n${c}\r\n`).join('')}0\r\n\r\n`,
    );
    expect((await agent.send(request()).answer()).body.toString()).toBe(MASKED);
  });

  test.each([
    ['gzip', gzipSync],
    ['x-gzip', gzipSync],
    ['GZIP', gzipSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
    ['deflate', deflateSync],
  ] as const)('in a body coded by %s', async (coding, code) => {
    const body = `${'x'.repeat(70_000)}${SECRET}`;
    answersWith(withLength(code(body), `Content-Encoding: ${coding}\r\n`));
    const answer = await agent.send(request('api', '/', 'Accept-Encoding: gzip, br\r\n')).answer();
    expect(answer.body.toString()).toBe(`${'x'.repeat(70_000)}${MASKED}`);
    expect(answer.fields.has('content-encoding')).toBe(false);
    expect(lab.api.sent('accept-encoding')).toEqual(['identity']);
  });

  test('in a body whose coding cannot be undone, which is refused', async () => {
    for (const coding of ['compress', 'gzip, gzip', 'aes128gcm', 'identity, x']) {
      answersWith(withLength(gzipSync(gzipSync(SECRET)), `Content-Encoding: ${coding}\r\n`));
      expect([coding, refusalOf(await lab.get('/', '', 'api'))]).toEqual([coding, '502 UpstreamMalformed']);
    }
  });

  test('in a coding that hides in a second field, which is refused', async () => {
    for (const [first, body] of [
      ['identity', gzipSync(SECRET)],
      ['gzip', gzipSync(gzipSync(SECRET))],
    ] as const) {
      answersWith(withLength(body, `Content-Encoding: ${first}\r\nContent-Encoding: gzip\r\n`));
      expect(refusalOf(await lab.get('/', '', 'api'))).toBe('502 UpstreamMalformed');
    }
  });

  test('in part of a coded body, which cannot be undone and is refused', async () => {
    const coded = gzipSync(SECRET);
    const range = `Content-Range: bytes 0-${coded.length - 1}/${coded.length}\r\n`;
    answersWith(withLength(coded, `Content-Encoding: gzip\r\n${range}`, '206 Partial Content'));
    expect(refusalOf(await lab.get('/', 'Range: bytes=0-\r\n', 'api'))).toBe('502 UpstreamMalformed');
  });

  test('in trailers', async () => {
    answersWith(
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Echo: ${BEARER}\r\nX-Sum: 1\r\n\r\n`,
    );
    expect((await agent.send(request()).answer()).body.toString()).toBe('ok');
    clean();
  });

  test('in an error page that ends with the connection', async () => {
    lab.api.answer = (_, socket) => socket.end(`HTTP/1.1 500 Oops\r\n\r\n<pre>Authorization: ${BEARER}</pre>`);
    const { status, body } = await agent.send(request()).answer();
    expect([status, body.toString()]).toEqual([500, `<pre>Authorization: Bearer ${MASKED}</pre>`]);
  });

  test('in a body that breaks off within the echo', async () => {
    lab.api.answer = (_, socket) => socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nkey: ${SECRET}`);
    await agent.send(request()).rest();
    clean();
  });

  test('in server-sent events, which still come one by one', async () => {
    lab.api.answer = async (_, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
      for (const event of ['data: 1\n\n', `data: ${SECRET}\n\n`, 'data: 3\n\n']) {
        socket.write(`${event.length.toString(16)}\r\n${event}\r\n`);
        await until(() => agent.received.includes(event.replace(SECRET, MASKED)));
      }
      socket.write('0\r\n\r\n');
    };
    await agent.send(request()).answer();
    clean();
  });

  test('in WebSocket frames, and compression that would hide it is not negotiated', async () => {
    const frame = Buffer.concat([Buffer.from([0x81, SECRET.length]), Buffer.from(SECRET)]);
    answersWith(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
      frame.subarray(0, 9),
      Buffer.concat([frame.subarray(9), frame]),
    );
    agent.send(
      request(
        'api',
        '/',
        'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n',
      ),
    );
    await agent.answer();
    expect(await agent.until(MASKED)).toMatch(/\*$/);
    await agent.until(MASKED);
    clean();
    expect(lab.api.sent('sec-websocket-extensions')).toEqual([]);
  });

  test('in an answer to HEAD, and in one without a body', async () => {
    answersWith(`HTTP/1.1 304 Not Modified\r\nETag: "${SECRET}"\r\n\r\n`);
    await agent.send(request()).answer();
    answersWith(`HTTP/1.1 200 OK\r\nX: ${SECRET}\r\nContent-Length: 5\r\n\r\n`);
    await agent.send(request().replace('GET', 'HEAD')).answer('HEAD');
    clean();
  });
});

describe('nor what it has placed otherwise', () => {
  test('as user name and password', async () => {
    lab.api.answer = ({ head }, socket) =>
      socket.write(withLength(head + Buffer.from(`agent:${SECRET}`).toString('base64url')));
    const { body } = await agent.send(request('basic')).answer();
    expect(body.toString()).toMatch(/Authorization: Basic [A-Za-z0-9+/]*\*{8,}/);
    expect(found(agent.received, FORMS)).toEqual([]);
  });

  test('as a parameter of the query', async () => {
    lab.api.answer = ({ target }, socket) =>
      socket.write(withLength(target, `Location: ${target}\r\nX: ${decodeURIComponent(target)}\r\n`, '302 Found'));
    await agent.send(request('query', '/p?a=b')).answer();
    clean();
  });

  test('in place of the placeholder, wherever the agent has put that', async () => {
    lab.api.answer = ({ head, body }, socket) => socket.write(withLength(head + body.toString('latin1')));
    const json = JSON.stringify({ key: placeholder });
    agent.send(
      `POST /slot/${placeholder}/x?k=${placeholder} HTTP/1.1\r\nHost: 127.0.0.1:${lab.sidecar.proxyPort}\r\nX-Key: a ${placeholder}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${json.length}\r\n\r\n${json}`,
    );
    await agent.answer();
    expect(lab.api.last.body.toString()).toBe(JSON.stringify({ key: SECRET }));
    expect(lab.api.last.target).toBe(`/${encodeURIComponent(SECRET)}/x?k=${encodeURIComponent(SECRET)}`);
    clean();
  });
});

test('an upstream that sends what looks like the end of one answer and the start of the next hides no echo there', async () => {
  const half = SECRET.length >> 1;
  answersWith(withLength(`x${SECRET.slice(0, half)}`));
  await agent.send(request()).answer();
  answersWith(withLength(`${SECRET.slice(half)}y`));
  const { body } = await agent.send(request()).answer();
  // Neither half is the secret; what matters is that nothing of the first was kept for the second.
  expect(body.toString()).toBe(`${SECRET.slice(half)}y`);
});
