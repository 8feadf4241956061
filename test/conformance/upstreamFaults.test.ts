import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { get, parsed, post, setUp } from '../../sidecar/exchange/testkit.ts';
import { dial, MATERIAL, type Peer } from '../../sidecar/listen/testkit.ts';
import { LOOPBACK } from '../sidecar/sidecarProcess.ts';
import { formsOf, found } from './rules/forms.ts';
import { Lab, SECRET, withDns } from './rules/lab.ts';
import { FAULTS, FAULTY, type Fault, faultyCa, good } from './upstreamFaults/faults.ts';
import { FaultyUpstream } from './upstreamFaults/faultyUpstream.ts';
import { type Seen, seenBy } from './upstreamFaults/seen.ts';

/** For what an upstream sends late to have come in. */
const SETTLE_MS = 60;
let lab: Lab;
const upstreams = new Map<Fault, FaultyUpstream>();
/** Begun at the start, as they take the ten seconds that a connection may take to open. */
const slow = new Map<Fault, Promise<Seen>>();

const hostOf = (fault: Fault) => fault.host ?? `${FAULTY}:${upstreams.get(fault)!.port}`;

beforeAll(async () => {
  for (const fault of FAULTS)
    if (fault.host === undefined) upstreams.set(fault, await FaultyUpstream.start(fault, good));
  lab = await Lab.start((made) => {
    const usual = { allowedNetworks: LOOPBACK };
    // A Credential takes no more than 32 hosts.
    const faulty = FAULTS.map((fault, i) => ({ key: `default/faulty-${i}`, hosts: [hostOf(fault)] }));
    return {
      ...withDns({}),
      extraCaPem: `${made.ca.pem}${faultyCa.pem}`,
      credentials: {
        'default/key': { hosts: [made.api.host()], material: SECRET },
        ...Object.fromEntries(faulty.map(({ key, hosts }) => [key, { hosts, material: SECRET }])),
      },
      integrations: {
        'default/example': { ...usual, hosts: [made.api.host()], alias: 'example' },
        ...Object.fromEntries(faulty.map(({ key, hosts }) => [key, { ...usual, hosts, credential: key }])),
      },
    };
  });
  for (const fault of FAULTS) if (fault.sees.startsWith('504')) slow.set(fault, provoke(fault));
});
afterAll(async () => {
  await lab?.close();
  for (const upstream of upstreams.values()) upstream.close();
});

function requestFor(fault: Fault): string {
  const host = hostOf(fault);
  const line = (method: string, version = '1.1') => `${method} https://${host}/ HTTP/${version}\r\nHost: ${host}\r\n`;
  switch (fault.request) {
    case 'POST':
      return `${line('POST')}Content-Length: 5\r\n\r\nhello`;
    case 'unfinished POST':
      return `${line('POST')}Content-Length: 1000000\r\n\r\nhello`;
    case 'expecting POST':
      return `${line('POST')}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n`;
    case 'HTTP/1.0':
      return `${line('GET', '1.0')}\r\n`;
    default:
      return `${line('GET')}\r\n`;
  }
}

async function provoke(fault: Fault): Promise<Seen> {
  const { proxyPort } = lab.sidecar;
  for (let i = 0; i < (fault.after ?? 0); i++) {
    const { outcome } = await seenBy(proxyPort, requestFor({ fault: fault.fault, sees: '', host: hostOf(fault) }));
    expect(outcome).toBe('200 whole');
    await sleep(SETTLE_MS);
  }
  return seenBy(proxyPort, requestFor(fault));
}

describe('an upstream that', () => {
  test.each(FAULTS.map((fault) => [fault.fault, fault.sees, fault] as const))(
    '%s: the agent sees %s',
    async (_, sees, fault) => {
      const upstream = upstreams.get(fault);
      const { outcome, bytes } = await (slow.get(fault) ?? provoke(fault));
      expect(outcome).toBe(sees);
      expect(found(bytes, formsOf(SECRET))).toEqual([]);
      // Three letters alone happen to be in the random bytes of a handshake, one time in a thousand.
      if (fault.untouched === true) expect(upstream?.received ?? '').not.toMatch(/(GET|POST) |authorization/i);
      if (fault.connections !== undefined) expect(upstream?.connections).toBe(fault.connections);
      expect((await lab.get('/')).status).toBe(200);
    },
  );

  test('whatever it did, the sidecar lives, has logged no fault of its own and no material, and nothing stays open', async () => {
    expect(lab.sidecar.running).toBe(true);
    const log = lab.sidecar.log.join('');
    expect(log).not.toMatch(/a fault of the sidecar|InternalError|"level":"?(error|50)/);
    expect(found(Buffer.from(log), formsOf(SECRET))).toEqual([]);
    const { body } = await lab.sidecar.health('/metrics');
    expect(body).not.toContain('code="InternalError"');
    expect(Number(/sidekey_upstream_connections\{state="active"\} (\d+)/.exec(body)?.[1])).toBe(0);
  });
});

describe('an upstream that falls silent, with shorter patience than the ten minutes of a sidecar', () => {
  const limits = { answerTimeoutMs: 200, silenceTimeoutMs: 200, bodyTimeoutMs: 200 };
  const answering = (answer: string) => (peer: Peer) => {
    peer.socket.once('data', () => peer.send(answer));
  };
  const silences: [
    string,
    (peer: Peer) => void,
    number | undefined,
    { status: number; code: string | undefined },
    string?,
  ][] = [
    ['as it was asked', answering(''), undefined, { status: 504, code: 'UpstreamTimeout' }],
    [
      'in the middle of its head',
      answering('HTTP/1.1 200 OK\r\nX: '),
      undefined,
      { status: 504, code: 'UpstreamTimeout' },
    ],
    ['after 100 Continue', answering('HTTP/1.1 100 Continue\r\n\r\n'), 0, { status: 504, code: 'UpstreamTimeout' }],
    [
      'in the middle of its body',
      answering('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell'),
      undefined,
      { status: 200, code: undefined },
    ],
    [
      'between chunks',
      answering('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n'),
      undefined,
      { status: 200, code: undefined },
    ],
    ['and reads no upload', (peer) => peer.socket.pause(), 50_000_000, { status: 504, code: 'UpstreamTimeout' }],
  ];

  test.each(silences)('%s', async (_, serve, length, sees) => {
    const { proxy, host, url } = await setUp({ limits }, serve);
    const agent = await dial(proxy.port);
    if (length === undefined) agent.send(get(url, host));
    else agent.send(post(url, host, length, length === 0 ? 'Expect: 100-continue\r\n' : '')).send(Buffer.alloc(length));
    if (length === 0) expect(await agent.until('\r\n\r\n')).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    const head = await agent.until('\r\n\r\n');
    expect(parsed(head)).toEqual(sees);
    // What was cut does not look as if that had been all.
    if (sees.status === 200) expect(await agent.rest()).toMatch(/^(4\r\n)?hell(\r\n)?$/);
    expect(`${head}${agent.received}`).not.toContain(MATERIAL);
    expect(proxy.log).toEqual([]);
  });
});
