import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AgentConnection } from './rules/agentConnection.ts';
import { Lab, refusalOf } from './rules/lab.ts';

/** The first bytes of a ClientHello whose record never comes to its end. */
const HALF_HELLO = Buffer.from('1603010200010001fc0303', 'hex');
let lab: Lab;
const open: Socket[] = [];

beforeAll(async () => {
  lab = await Lab.start();
});
afterAll(async () => {
  for (const socket of open) socket.destroy();
  await lab?.close();
});

/** The sidecar lives, is of use to others, and has found no fault in itself. */
async function expectUnharmed(): Promise<void> {
  expect((await lab.get('/')).status).toBe(200);
  const fresh = await lab.tunnel();
  expect((await fresh.send(`GET / HTTP/1.1\r\nHost: ${lab.api.host()}\r\n\r\n`).answer()).status).toBe(200);
  fresh.close();
  expect(lab.sidecar.running).toBe(true);
  expect(lab.sidecar.log.join('')).not.toMatch(/a fault of the sidecar/);
}

test('an agent that stops in the middle of hundreds of TLS handshakes: they are given up, the others go on', async () => {
  const halves = await Promise.all(
    Array.from({ length: 300 }, () => AgentConnection.connect(lab.sidecar.proxyPort, lab.api.host())),
  );
  for (const half of halves) half.send(HALF_HELLO);
  await expectUnharmed();
  await Promise.all(halves.map((half) => half.rest()));
});

test('an agent that resets in the middle of TLS handshakes, and sends what is no TLS', async () => {
  for (const bytes of [HALF_HELLO, Buffer.alloc(5), Buffer.from('16030100000000', 'hex'), Buffer.alloc(20_000, 0x16)]) {
    const agents = await Promise.all(
      Array.from({ length: 50 }, () => AgentConnection.connect(lab.sidecar.proxyPort, lab.api.host())),
    );
    for (const [i, agent] of agents.entries()) {
      agent.send(bytes);
      if (i % 2 === 0) agent.socket.resetAndDestroy();
      else agent.socket.end();
    }
    await Promise.all(agents.map((agent) => agent.rest()));
  }
  await expectUnharmed();
});

test('an agent that opens and drops connections as fast as it can', async () => {
  for (let round = 0; round < 10; round++) {
    const sockets = Array.from({ length: 200 }, () =>
      connect(lab.sidecar.proxyPort, '127.0.0.1').on('error', () => {}),
    );
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    for (const [i, socket] of sockets.entries()) {
      if (i % 3 === 0) socket.write('GET /example/ HTTP/1.1\r\nHost: ');
      socket.resetAndDestroy();
    }
  }
  await expectUnharmed();
});

test('an agent that floods the sidecar with requests it can have: all are answered, another agent too', async () => {
  const flooding = Array.from({ length: 50 }, async () => {
    const agent = await lab.open();
    open.push(agent.socket);
    const request = `GET /example/ HTTP/1.1\r\nHost: 127.0.0.1:${lab.sidecar.proxyPort}\r\n\r\n`;
    agent.send(request.repeat(40));
    let answered = 0;
    for (; answered < 40; answered++) expect((await agent.answer()).status).toBe(200);
    agent.close();
    return answered;
  });
  expect((await lab.get('/')).status).toBe(200);
  expect(await Promise.all(flooding)).toEqual(Array(50).fill(40));
  expect(refusalOf(await lab.ask('\0\r\n\r\n'))).toBe('400 MalformedRequest');
  await expectUnharmed();
});
