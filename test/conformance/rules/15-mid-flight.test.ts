import type { Socket } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../../../sidecar/link/testkit.ts';
import { LOOPBACK } from '../../sidecar/sidecarProcess.ts';
import { auditOf } from '../../store/storeClient.ts';
import type { AgentConnection } from './agentConnection.ts';
import { Lab } from './lab.ts';
import type { Received } from './rawUpstream.ts';

const REVOCATION_MS = 1_000;
let lab: Lab;
let version = 0;

beforeAll(async () => {
  lab = await Lab.start();
});
afterAll(() => lab?.close());
beforeEach(async () => {
  lab.api.forget();
  await lab.store.integration({ hosts: [lab.api.host()], alias: 'example', allowedNetworks: LOOPBACK });
  await until(async () => (await lab.get('/')).status === 200);
  lab.api.forget();
});

/** Puts another version in force, and waits until the sidecar uses it. */
async function rotate(): Promise<string> {
  const material = `material-number-${++version}`;
  await lab.store.material(material);
  return `Bearer ${material}`;
}
async function rotated(): Promise<string> {
  const bearer = await rotate();
  const { answer } = lab.api;
  lab.api.answer = (_, socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
  await until(async () => {
    await lab.get('/');
    return lab.api.sent('authorization')[0] === bearer;
  });
  lab.api.requests = [];
  lab.api.answer = answer;
  return bearer;
}
const ok = (socket: Socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone');
const refused = (socket: Socket) => socket.write('HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno');
const authorization = ({ fields }: Received) => fields.find(([name]) => name === 'Authorization')?.[1];
const request = (line = 'GET /example/', fields = '', body = '') =>
  `${line} HTTP/1.1\r\nHost: 127.0.0.1:${lab.sidecar.proxyPort}\r\n${fields}\r\n${body}`;

test('what was authorised before a rotation finishes with the version it began with; the next takes the new one', async () => {
  const first = await rotated();
  const waiting = Promise.withResolvers<Socket>();
  lab.api.answer = (_, socket) => waiting.resolve(socket);
  const inFlight = lab.get('/slow');
  const socket = await waiting.promise;
  const second = await rotated();
  ok(socket);
  expect((await inFlight).body.toString()).toBe('done');
  let next: Socket | undefined;
  lab.api.answer = (_, used) => {
    next = used;
    ok(used);
  };
  await lab.get('/next');
  expect(first).not.toBe(second);
  expect(authorization(lab.api.last)).toBe(second);
  // Back in the pool after the rotation, but for nobody.
  expect(next).not.toBe(socket);
});

test('no connection that carried one version carries the next', async () => {
  const seen = new Map<Socket, Set<string>>();
  const record = () => {
    lab.api.answer = (received, socket) => {
      seen.set(socket, (seen.get(socket) ?? new Set()).add(authorization(received)!));
      ok(socket);
    };
  };
  for (let i = 0; i < 3; i++) {
    await rotated();
    record();
    for (let j = 0; j < 3; j++) await lab.get('/');
  }
  for (const versions of seen.values()) expect(versions.size).toBe(1);
});

describe('a revocation', () => {
  const streams: Record<string, (agent: AgentConnection) => Promise<void>> = {
    'a stream of events': async (agent) => {
      lab.api.answer = (_, socket) =>
        socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: hello\n\n');
      agent.send(request());
      await agent.until('data: hello');
    },
    'a chunked answer under way': async (agent) => {
      lab.api.answer = (_, socket) =>
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n');
      agent.send(request());
      await agent.until('hello');
    },
    'a WebSocket': async (agent) => {
      lab.api.answer = (_, socket) =>
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello');
      agent.send(request(undefined, 'Connection: Upgrade\r\nUpgrade: websocket\r\n'));
      await agent.until('hello');
    },
    'an upload': async (agent) => {
      agent.send(request('POST /example/', 'Content-Length: 1000000\r\n', 'x'.repeat(1000)));
      await until(() => lab.api.bytes.includes('xxx'));
    },
    'a request that waits for its answer': async (agent) => {
      lab.api.answer = () => {};
      agent.send(request());
      await until(() => lab.api.requests.length > 0);
    },
  };

  test.each(Object.keys(streams))('cuts %s within a second', async (name) => {
    const agent = await lab.open();
    await streams[name]!(agent);
    const atMs = performance.now();
    await lab.store.removeIntegration();
    const told = () => agent.received.includes('sidekey-error: Revoked');
    await until(() => agent.closed || told());
    expect(performance.now() - atMs).toBeLessThan(REVOCATION_MS);
    // Cut short so that it can be seen, or told why where nothing had been said.
    expect(agent.received.length === 0 || told() || agent.received.includes('hello')).toBe(true);
    expect(agent.received.includes('\r\n0\r\n\r\n')).toBe(false);
    agent.close();
  });

  test('lets nothing new through', async () => {
    await lab.store.removeIntegration();
    await until(async () => (await lab.get('/')).fields.get('sidekey-error') === 'UnknownAlias');
    lab.api.forget();
    // The host is one of no Integration now: what passes has no credential.
    const authority = lab.api.host();
    await lab.ask(`GET https://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    expect(authorization(lab.api.last)).toBeUndefined();
  });

  test('ends a connection that was intercepted for it: its next request goes without', async () => {
    const agent = await lab.tunnel();
    await agent.send(`GET / HTTP/1.1\r\nHost: ${lab.api.host()}\r\n\r\n`).answer();
    await lab.store.removeIntegration();
    await until(async () => (await lab.get('/')).fields.get('sidekey-error') === 'UnknownAlias');
    lab.api.forget();
    agent.send(`GET / HTTP/1.1\r\nHost: ${lab.api.host()}\r\n\r\n`);
    await agent.answer().catch(() => {});
    expect(lab.api.requests.map(authorization)).toEqual(lab.api.requests.map(() => undefined));
    agent.close();
  });
});

describe('an upstream 401', () => {
  /** Refuses the version of the first request, but only once there is a newer one. */
  const refusesOld = () => {
    const arrived = Promise.withResolvers<Socket>();
    lab.api.answer = (_, socket) => {
      if (lab.api.requests.length === 1) arrived.resolve(socket);
      else ok(socket);
    };
    return arrived.promise;
  };

  test('has the request repeated once, with the newer version', async () => {
    const first = await rotated();
    const arrived = refusesOld();
    const asking = lab.ask(request('POST /example/', 'Content-Length: 5\r\n', 'hello'));
    const socket = await arrived;
    const second = await rotate();
    await new Promise((resolve) => setTimeout(resolve, 300));
    refused(socket);
    expect((await asking).status).toBe(200);
    expect(lab.api.requests.map((r) => [authorization(r), r.body.toString()])).toEqual([
      [first, 'hello'],
      [second, 'hello'],
    ]);
  });

  test('does not have a large upload repeated: the agent gets the 401', async () => {
    await rotated();
    const arrived = refusesOld();
    const size = 100_000;
    const asking = lab.ask(request('POST /example/', `Content-Length: ${size}\r\n`, 'x'.repeat(size)));
    const socket = await arrived;
    await rotate();
    await new Promise((resolve) => setTimeout(resolve, 300));
    refused(socket);
    expect((await asking).status).toBe(401);
    expect(lab.api.requests).toHaveLength(1);
  });

  test('that goes on has the store asked once, and no request repeated', async () => {
    await rotated();
    const leases = async () =>
      (await auditOf(lab.store.process)).filter(({ event }) => event.kind === 'lease.issued').length;
    lab.api.answer = (_, socket) => refused(socket);
    const before = await leases();
    for (let i = 0; i < 20; i++) expect((await lab.get('/')).status).toBe(401);
    expect(lab.api.requests).toHaveLength(20);
    expect((await leases()) - before).toBeLessThanOrEqual(1);
  });
});
