import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { get as GET, post as POST, setUp, until } from '../exchange/testkit.ts';
import { dial, MATERIAL, type Peer, secure } from './testkit.ts';

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Numbers that look random and are the same in every run (mulberry32). */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const coded = gzipSync(`echo ${MATERIAL}`);
const ANSWERS: (string | Buffer)[] = [
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n',
  `HTTP/1.1 200 OK\r\nContent-Length: ${MATERIAL.length}\r\n\r\n${MATERIAL}`,
  'HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntoo short',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more',
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello',
  Buffer.concat([
    Buffer.from(`HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${coded.length}\r\n\r\n`),
    coded,
  ]),
  Buffer.concat([
    Buffer.from('HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n'),
    coded.subarray(0, 9),
  ]),
  'garbage\r\n\r\n',
  '',
];

test('agents and upstreams that do anything at any time leave nothing behind, and no fault', async () => {
  const random = randomOf(20260101);
  const misbehave = (peer: Peer) => {
    peer.socket.on('data', () => {
      setTimeout(() => {
        const answer = ANSWERS[random(ANSWERS.length)]!;
        const cut = random(4) === 0 ? random(answer.length + 1) : answer.length;
        if (peer.socket.writable) peer.send(answer.slice(0, cut) as string | Buffer);
        const end = random(6);
        if (end === 0) peer.socket.end();
        if (end === 1) peer.reset();
      }, random(3));
    });
  };
  const limits = {
    headTimeoutMs: 200,
    idleTimeoutMs: 300,
    bodyTimeoutMs: 200,
    answerTimeoutMs: 300,
    silenceTimeoutMs: 300,
  };
  const plain = await setUp({ limits }, misbehave);
  const tls = await setUp({ limits }, misbehave, { tls: true });
  const blind = await setUp({ limits, grants: [] }, misbehave);

  const agent = async () => {
    const { proxy, host, url } = [plain, tls, blind][random(3)]!;
    const requests = [
      GET(`${url}/`, host),
      GET(`${url}/1`, host) + GET(`${url}/2`, host) + GET(`${url}/3`, host),
      `${POST(`${url}/`, host, 5)}hello`,
      `${POST(`${url}/`, host, 'chunked')}5\r\nhello\r\n0\r\n\r\n${GET(`${url}/`, host)}`,
      `${POST(`${url}/`, host, 100_000)}${'x'.repeat(random(100_000))}`,
      `${POST(`${url}/`, host, 10, 'Expect: 100-continue\r\n')}`,
      GET(`${url}/`, host, 'Connection: Upgrade\r\nUpgrade: websocket\r\n'),
      GET(`${url}/../`, host),
      GET(`${url}/`, host).replace('HTTP/1.1', 'HTTP/1.0'),
      'nonsense\r\n\r\n',
    ];
    let peer = await dial(proxy.port);
    try {
      if (random(3) === 0) {
        peer.send(`CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
        await peer.until('\r\n\r\n');
        if (proxy === tls.proxy) peer = await secure(peer, { ca: proxy.deps.ca.caPem, servername: 'api.test' });
      }
      for (let i = random(4); i >= 0; i--) {
        const request = requests[random(requests.length)]!;
        if (peer.socket.writable) peer.send(random(4) === 0 ? request.slice(0, random(request.length)) : request);
        await pause(random(10));
      }
    } catch {
      // It was cut off on the way.
    }
    const end = random(4);
    if (end === 0) peer.socket.end();
    if (end === 1) peer.reset();
    if (end === 2) peer.socket.destroy();
    await Promise.race([peer.rest(), pause(1_500)]);
    // Where no credential went up, what looks like it is the upstream's own.
    if (proxy === tls.proxy) expect(peer.received).not.toContain(MATERIAL);
    peer.socket.destroy();
  };
  for (let round = 0; round < 6; round++) {
    await Promise.all(Array.from({ length: 50 }, agent));
    if (round === 3) plain.proxy.deps.grants.apply({ type: 'revoke', integration: 'default/api' });
  }
  for (const { proxy } of [plain, tls, blind]) {
    const { deps, listener, log } = proxy;
    await until(() => deps.metrics.clientConnections === 0 && deps.upstreams.stats().active === 0);
    expect(listener.inFlight.size).toBe(0);
    expect(listener.handshakes).toBe(0);
    expect(log.filter((line) => line.includes('fault'))).toEqual([]);
    const lease = deps.grants.leases.held('default/key');
    deps.grants.end('the test is over');
    expect(lease === undefined || lease.destroyed).toBe(true);
  }
}, 60_000);
