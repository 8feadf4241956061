import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
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
