import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { createSecureContext, TLSSocket, connect as tlsConnect } from 'node:tls';
import { expect, test } from 'vitest';
import { generateP256, issueCertificate, toPem } from '../../lib/x509.ts';
import { listen } from '../upstream/testkit.ts';
import { AgentReads } from './agentReads.ts';

/** Both ends of one connection, the accepted one adopted. */
async function pair(reads: AgentReads): Promise<{ agent: Socket; socket: Socket }> {
  const adopted: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (accepted) => {
    adopted.push(reads.adopt(accepted));
  });
  const agent = connect(await listen(server), '127.0.0.1');
  await once(agent, 'connect');
  await expect.poll(() => adopted.length).toBe(1);
  return { agent, socket: adopted[0]! };
}

test('an adopted socket gives all bytes, then the end, and answers', async () => {
  const { agent, socket } = await pair(new AgentReads());
  let received = 0;
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  agent.end(Buffer.alloc(1_000_000));
  await once(socket, 'end');
  expect(received).toBe(1_000_000);
  socket.end('bye');
  expect(String((await once(agent, 'data'))[0])).toBe('bye');
});

test('no two sockets see each other’s bytes, although they read into one buffer', async () => {
  const reads = new AgentReads();
  const pairs = await Promise.all([pair(reads), pair(reads)]);
  const chunks = pairs.map(({ socket }) => {
    const list: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => list.push(chunk));
    return list;
  });
  pairs.forEach(({ agent }, i) => {
    agent.end(Buffer.alloc(500_000, `${i}`));
  });
  await Promise.all(pairs.map(({ socket }) => once(socket, 'end')));
  chunks.forEach((list, i) => {
    expect(Buffer.concat(list).equals(Buffer.alloc(500_000, `${i}`))).toBe(true);
  });
});

test('a paused socket is not read', async () => {
  const { agent, socket } = await pair(new AgentReads());
  let received = 0;
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
    socket.pause();
  });
  agent.write(Buffer.alloc(16_000_000));
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(received).toBeLessThanOrEqual(64 * 1024);
  agent.destroy();
  socket.destroy();
});

test('a chunk that was given back is used again', async () => {
  const reads = new AgentReads();
  const { agent, socket } = await pair(reads);
  const buffers = new Set<ArrayBufferLike>();
  socket.on('data', (chunk: Buffer) => {
    if (chunk.length >= 16 * 1024) buffers.add(chunk.buffer);
    reads.recycle(chunk);
  });
  agent.end(Buffer.alloc(10_000_000));
  await once(socket, 'end');
  expect(buffers.size).toBe(1);
});

test('a TLS connection that was adopted gives all bytes, then the end, out of the same few buffers', async () => {
  const reads = new AgentReads();
  const key = generateP256();
  const issuer = { commonName: 'agent.test', privateKey: key.privateKey };
  const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 60_000) };
  const { der } = issueCertificate({ commonName: 'agent.test', publicKey: key.publicKey, ...validity, issuer });
  const pem = key.privateKey.export({ type: 'pkcs8', format: 'pem' });
  const secureContext = createSecureContext({ cert: toPem(der), key: pem });
  const hash = createHash('sha256');
  const buffers = new Set<ArrayBufferLike>();
  const ended = new Promise<void>((resolve) => {
    const server = createServer({ allowHalfOpen: true }, (accepted) => {
      const secure = new TLSSocket(reads.adopt(accepted), { isServer: true, secureContext });
      reads.adoptSecure(secure);
      secure.on('data', (chunk: Buffer) => {
        hash.update(chunk);
        if (chunk.length >= 16 * 1024) buffers.add(chunk.buffer);
        reads.recycle(chunk);
      });
      secure.on('end', () => secure.end(resolve));
    });
    listen(server).then((port) => {
      const agent = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false });
      agent.on('error', () => {}).end(Buffer.alloc(5_000_000, 'tls'));
    });
  });
  await ended;
  expect(hash.digest('hex')).toBe(createHash('sha256').update(Buffer.alloc(5_000_000, 'tls')).digest('hex'));
  expect(buffers.size).toBeLessThanOrEqual(1);
});
