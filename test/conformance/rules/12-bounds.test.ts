import { once } from 'node:events';
import { createServer, request as httpRequest, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { defaultBounds } from '../../../sidecar/config.ts';
import { until } from '../../../sidecar/link/testkit.ts';
import { LOOPBACK } from '../../sidecar/sidecarProcess.ts';
import { Lab, refusalOf } from './lab.ts';

const MIB = 1024 * 1024;
const BODY_BYTES = 5120 * MIB;
const PIECE = Buffer.alloc(64 * 1024, 'x');
let lab: Lab;
let bulk: Server;
/** Bytes that `bulk` has read. */
let bulkBytes = 0;

beforeAll(async () => {
  bulk = createServer((request, response) => {
    if (request.method === 'GET') {
      response.setHeader('content-length', BODY_BYTES);
      let left = BODY_BYTES / PIECE.length;
      const more = () => {
        while (left > 0 && response.write(PIECE)) left--;
        if (left-- <= 0) response.off('drain', more).end();
      };
      response.on('drain', more);
      more();
    } else {
      request.on('data', (chunk: Buffer) => {
        bulkBytes += chunk.length;
      });
      request.on('end', () => response.end('done'));
    }
  });
  await once(bulk.listen(0, '127.0.0.1'), 'listening');
  lab = await Lab.start((made) => {
    const host = `bulk.localhost:${(bulk.address() as AddressInfo).port}`;
    const hosts = [made.api.host(), host];
    return {
      credentials: { 'default/key': { hosts, material: 'sk-of-the-bounds' } },
      integrations: {
        'default/example': { hosts: [made.api.host()], alias: 'example', allowedNetworks: LOOPBACK },
        'default/bulk': { hosts: [host], allowedNetworks: LOOPBACK, allowPlaintext: true },
      },
    };
  });
});
afterAll(async () => {
  await lab?.close();
  bulk.closeAllConnections();
  bulk.close();
});
beforeEach(() => lab.api.forget());

const request = (fields = '', path = '/') =>
  `GET /example${path} HTTP/1.1\r\nHost: 127.0.0.1:${lab.sidecar.proxyPort}\r\n${fields}\r\n`;
const numbered = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: v\r\n`).join('');

/** How much more memory the sidecar had at most while `work` went on, in MiB. */
async function growth<T>(work: () => Promise<T>): Promise<{ result: T; grownMiB: number }> {
  const before = lab.sidecar.residentMiB();
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, lab.sidecar.residentMiB());
  }, 10);
  try {
    return { result: await work(), grownMiB: Math.max(most, lab.sidecar.residentMiB()) - before };
  } finally {
    clearInterval(timer);
  }
}

describe('what an agent sends is bounded', () => {
  test('a head: its bytes and its fields', async () => {
    const { headLimitBytes } = defaultBounds;
    expect(refusalOf(await lab.ask(request(`X: ${'x'.repeat(headLimitBytes)}\r\n`)))).toBe('431 HeadTooLarge');
    expect(refusalOf(await lab.ask(request('', `/${'a'.repeat(headLimitBytes)}`)))).toBe('431 HeadTooLarge');
    expect(refusalOf(await lab.ask(request(numbered(100))))).toBe('400 MalformedRequest');
    expect(lab.api.connections).toBe(0);
    expect((await lab.ask(request(numbered(99)))).status).toBe(200);
  });

  test('a head without an end', async () => {
    const agent = await lab.open();
    const { grownMiB } = await growth(async () => {
      agent.send('GET / HTTP/1.1\r\n');
      // Whoever goes on after the answer is cut off, and may lose it.
      for (let i = 0; i < 4_000 && agent.received.length === 0; i++) {
        agent.send(`X-${i}: ${'x'.repeat(1000)}\r\n`);
        if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      expect(refusalOf(await agent.answer())).toBe('431 HeadTooLarge');
    });
    expect(grownMiB).toBeLessThan(32);
    agent.close();
  });

  test('chunk extensions and trailers without an end', async () => {
    for (const start of ['5;', '0\r\nX: ']) {
      const agent = await lab.open();
      const head = request('Transfer-Encoding: chunked\r\n').replace('GET', 'POST');
      agent.send(`${head}${start}`);
      for (let i = 0; i < 64 && !agent.socket.destroyed; i++) agent.send('a'.repeat(1024));
      expect(refusalOf(await agent.answer())).toBe('400 MalformedRequest');
      agent.close();
    }
    expect(lab.api.requests).toEqual([]);
  });

  test('pipelined requests: they wait in the socket, not in memory', async () => {
    let release = () => {};
    lab.api.answer = (_, socket) => {
      release = () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    };
    const agent = await lab.open();
    const flood = Buffer.from(request().repeat(10_000));
    const { grownMiB } = await growth(async () => {
      for (let i = 0; i < 40; i++) agent.send(flood);
      await until(() => lab.api.requests.length > 0);
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(agent.socket.writableLength).toBeGreaterThan(flood.length);
      expect(lab.api.requests).toHaveLength(1);
    });
    expect(grownMiB).toBeLessThan(32);
    release();
    agent.close();
  });

  test('a flood of requests that are refused, whose answers nobody reads', async () => {
    const socket = connect(lab.sidecar.proxyPort, '127.0.0.1').on('error', () => {});
    const flood = Buffer.from(
      'GET /nobody/ HTTP/1.1\r\nHost: sidekey.internal\r\n\r\n'
        .replace('sidekey.internal', `127.0.0.1:${lab.sidecar.proxyPort}`)
        .repeat(5_000),
    );
    socket.pause();
    const { grownMiB } = await growth(async () => {
      for (let i = 0; i < 50; i++) socket.write(flood);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    });
    expect(grownMiB).toBeLessThan(48);
    expect((await lab.get('/')).status).toBe(200);
    socket.destroy();
  });
});

describe('what an upstream sends is bounded', () => {
  test('a head, interim answers, and what is no HTTP at all', async () => {
    const answers = [
      `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`,
      `HTTP/1.1 200 OK\r\n${numbered(257)}\r\n`,
      'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(100),
      'x'.repeat(70_000),
    ];
    for (const answer of answers) {
      lab.api.answer = (_, socket) => socket.write(answer);
      expect(refusalOf(await lab.get('/'))).toBe('502 UpstreamMalformed');
    }
  });

  test('an answer that nobody reads: the upstream has to wait', async () => {
    const agent = await lab.open();
    agent.socket.pause();
    let written = 0;
    lab.api.answer = (_, socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      const more = () => {
        for (let i = 0; i < 64; i++) {
          written += PIECE.length;
          if (!socket.write(PIECE)) break;
        }
        socket.once('drain', more);
      };
      more();
    };
    const { grownMiB } = await growth(async () => {
      agent.send(request());
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    });
    expect(written).toBeLessThan(64 * MIB);
    expect(grownMiB).toBeLessThan(32);
    agent.close();
  });
});

describe('bodies stream', () => {
  const authority = () => `bulk.localhost:${(bulk.address() as AddressInfo).port}`;
  const through = (method: string, headers: Record<string, string | number> = {}) =>
    httpRequest({
      port: lab.sidecar.proxyPort,
      method,
      path: `http://${authority()}/`,
      headers: { host: authority(), ...headers },
      agent: false,
    });

  test('5 GiB down in constant memory', { timeout: 90_000 }, async () => {
    const { result, grownMiB } = await growth(async () => {
      const outgoing = through('GET').end();
      const [response] = await once(outgoing, 'response');
      let bytes = 0;
      for await (const chunk of response) bytes += chunk.length;
      return bytes;
    });
    expect(result).toBe(BODY_BYTES);
    expect(grownMiB).toBeLessThan(48);
  });

  test('5 GiB up in constant memory', { timeout: 90_000 }, async () => {
    bulkBytes = 0;
    const { grownMiB } = await growth(async () => {
      const outgoing = through('POST', { 'content-length': BODY_BYTES });
      for (let sent = 0; sent < BODY_BYTES; sent += PIECE.length)
        if (!outgoing.write(PIECE)) await once(outgoing, 'drain');
      const [response] = await once(outgoing.end(), 'response');
      response.resume();
      await once(response, 'end');
    });
    expect(bulkBytes).toBe(BODY_BYTES);
    expect(grownMiB).toBeLessThan(48);
  });
});

describe('connections are bounded', () => {
  test('one byte now and then does not keep a head waiting for ever', async () => {
    const loris = await Promise.all(Array.from({ length: 100 }, () => lab.open()));
    const atMs = performance.now();
    for (const agent of loris) agent.send('GET / HTTP/1.1\r\nX: ');
    const timer = setInterval(() => {
      for (const agent of loris) agent.socket.write('x');
    }, 500);
    expect((await lab.get('/')).status).toBe(200);
    const answers = await Promise.all(loris.map((agent) => agent.answer()));
    clearInterval(timer);
    expect(new Set(answers.map(refusalOf))).toEqual(new Set(['408 RequestTimeout']));
    expect(performance.now() - atMs).toBeLessThan(defaultBounds.headTimeoutMs + 3_000);
  });

  test('17,000 idle ones: those past the limit are told so, the others live, memory stays', {
    timeout: 60_000,
  }, async () => {
    const waiting = await lab.open();
    const opening = 17_000;
    const past = opening - defaultBounds.clientConnectionLimit;
    const sockets: Socket[] = [];
    const refused = new Set<Socket>();
    const { grownMiB } = await growth(async () => {
      for (let opened = 0; opened < opening; opened += 500) {
        const batch = Array.from({ length: 500 }, () => connect(lab.sidecar.proxyPort, '127.0.0.1'));
        for (const socket of batch) {
          socket.on('error', () => {});
          socket.on('data', (chunk: Buffer) => {
            if (chunk.includes('sidekey-error: Overloaded')) refused.add(socket);
          });
        }
        await Promise.all(batch.map((socket) => once(socket, 'connect')));
        sockets.push(...batch);
      }
      await until(() => refused.size >= past);
    });
    expect(grownMiB).toBeLessThan(150);
    expect(refused.size).toBeLessThanOrEqual(past + 16);
    // One that came before is served, while no new one is.
    expect((await waiting.send(request()).answer()).status).toBe(200);
    expect(refusalOf(await (await lab.open()).answer())).toBe('503 Overloaded');
    for (const socket of sockets) socket.destroy();
    await until(async () => (await lab.get('/').catch(() => undefined))?.status === 200);
    waiting.close();
  });
});
