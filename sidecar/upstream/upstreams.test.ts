import { randomBytes } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { describe, expect, test, vi } from 'vitest';
import type { UpstreamConnection } from './connection.ts';
import { acquire, connected, createTestCa, createUpstreams, exchange, listen, targetFor } from './testkit.ts';

/** A server that answers `?` with `ok.`; gives the port and the connections it saw. */
async function start() {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', () => socket.write('ok.'));
  });
  return { port: await listen(server), sockets };
}

function fakeClock() {
  const time = { ms: 0 };
  return { time, clock: { nowMs: Date.now, monotonicMs: () => time.ms } };
}

async function setUp(options: Parameters<typeof createUpstreams>[0] = {}) {
  const { time, clock } = fakeClock();
  const upstreams = createUpstreams({ clock, ...options });
  const { port, sockets } = await start();
  const target = targetFor(port, { scheme: 'http' });
  const use = async (id = target.id, fresh = false) => {
    const connection = await connected(acquire(upstreams, { ...target, id }, fresh));
    await exchange(connection, '?', '.');
    return connection;
  };
  return { upstreams, port, sockets, time, target, use };
}

async function closed({ socket }: UpstreamConnection): Promise<void> {
  await vi.waitFor(() => expect(socket.closed).toBe(true), { timeout: 5_000 });
}

describe('idle connections', () => {
  test('one that was released is used again, and handed over at once', async () => {
    const { use, upstreams, target, sockets } = await setUp();
    const first = await use();
    first.release();
    expect(upstreams.stats()).toEqual({ idle: 1, active: 0 });
    let second: unknown;
    upstreams.acquire(target, false, (result) => {
      second = result;
    });
    expect(second).toBe(first);
    expect(first.reused).toBe(true);
    expect(upstreams.stats()).toEqual({ idle: 0, active: 1 });
    expect(await exchange(first, '?', '.')).toBe('ok.');
    expect(sockets).toHaveLength(1);
  });

  test('the one used last goes first', async () => {
    const { use } = await setUp();
    const [a, b] = [await use(), await use()];
    a.release();
    b.release();
    expect(await use()).toBe(b);
    expect(await use()).toBe(a);
  });

  test('one that was released twice goes to one borrower only', async () => {
    const { use, upstreams } = await setUp();
    const first = await use();
    first.release();
    first.release();
    expect(upstreams.stats()).toEqual({ idle: 1, active: 0 });
    expect(await use()).toBe(first);
    expect(await use()).not.toBe(first);
  });

  test('a fresh one is made if asked for', async () => {
    const { use, sockets } = await setUp();
    const first = await use();
    first.release();
    expect(await use(undefined, true)).not.toBe(first);
    expect(sockets).toHaveLength(2);
  });

  test('rule 15: none is shared between credential versions', async () => {
    const { use } = await setUp();
    const first = await use('https://api.test openai@1');
    first.release();
    expect(await use('https://api.test openai@2')).not.toBe(first);
    expect(await use('https://api.test openai@1')).toBe(first);
  });

  test('rule 15: those of a version that is gone are dropped', async () => {
    const { use, upstreams } = await setUp();
    const [old, kept] = [await use('a openai@1'), await use('a openai@2')];
    old.release();
    kept.release();
    upstreams.dropIdle('a openai@1');
    await closed(old);
    await expect.poll(() => upstreams.stats()).toEqual({ idle: 1, active: 0 });
    upstreams.dropIdle((id) => id.endsWith('@2'));
    await closed(kept);
    await expect.poll(() => upstreams.stats()).toEqual({ idle: 0, active: 0 });
  });

  test('one is kept for 4 s at most, a second less than the upstream says, and closed by the sweep', async () => {
    const { use, time, upstreams } = await setUp();
    const first = await use();
    first.release();
    time.ms += 3_999;
    expect(await use()).toBe(first);
    first.release();
    time.ms += 4_000;
    await closed(first);
    await expect.poll(() => upstreams.stats()).toEqual({ idle: 0, active: 0 });

    const second = await use();
    second.release(3);
    time.ms += 2_000;
    expect(await use()).not.toBe(second);
    await closed(second);
    const third = await use();
    for (const hint of [1, 0, Number.NaN]) {
      third.release(hint);
      expect(upstreams.stats().idle).toBe(0);
    }
    await closed(third);
  });

  test('one that has served for five minutes makes way for a new one', async () => {
    const { use, time } = await setUp();
    const first = await use();
    time.ms += 300_001;
    first.release();
    expect(await use()).not.toBe(first);
    await closed(first);
  });

  test.each<[string, (socket: Socket) => void]>([
    ['closes', (socket) => socket.end()],
    ['resets', (socket) => socket.resetAndDestroy()],
    ['speaks unasked', (socket) => socket.write('HTTP/1.1 200 OK\r\n\r\n')],
  ])('one whose upstream %s is not used again', async (_, act) => {
    const { use, sockets, upstreams } = await setUp();
    const first = await use();
    first.release();
    act(sockets[0]!);
    await closed(first);
    await expect.poll(() => upstreams.stats()).toEqual({ idle: 0, active: 0 });
    expect(await use()).not.toBe(first);
  });

  test('one that was paused is watched again, one with unsent bytes or a FIN is not kept', async () => {
    const { use, sockets, upstreams } = await setUp();
    const paused = await use();
    paused.socket.pause();
    paused.release();
    sockets[0]!.end();
    await closed(paused);

    const busy = await use();
    sockets[1]!.pause();
    busy.socket.write(Buffer.alloc(64 * 1024 * 1024));
    busy.release();
    await closed(busy);

    const ended = await use();
    const sawEnd = new Promise<void>((resolve) => {
      ended.handler = { data() {}, end: resolve, closed() {}, drain() {} };
    });
    sockets[2]!.end();
    await sawEnd;
    ended.release();
    await closed(ended);
    await expect.poll(() => upstreams.stats()).toEqual({ idle: 0, active: 0 });
  });
});

describe('a borrower hears', () => {
  test('end, with our half still open, then closed', async () => {
    const { use, sockets } = await setUp();
    const connection = await use();
    const heard: string[] = [];
    const over = new Promise<void>((resolve) => {
      connection.handler = {
        data: (chunk) => heard.push(chunk.toString()),
        end() {
          heard.push('end');
          connection.socket.end('late');
        },
        closed(error) {
          heard.push(`closed ${error?.message}`);
          resolve();
        },
        drain() {},
      };
    });
    const received = new Promise<string>((resolve) => {
      sockets[0]!.removeAllListeners('data').once('data', (chunk) => resolve(chunk.toString()));
    });
    sockets[0]!.end('bye');
    expect(await received).toBe('late');
    await over;
    expect(heard).toEqual(['bye', 'end', 'closed undefined']);
  });

  test('a reset, once', async () => {
    const { use, sockets } = await setUp();
    const connection = await use();
    const heard: unknown[] = [];
    const over = new Promise<void>((resolve) => {
      connection.handler = {
        data() {},
        end() {},
        closed(error) {
          heard.push((error as NodeJS.ErrnoException).code);
          resolve();
        },
        drain() {},
      };
    });
    sockets[0]!.resetAndDestroy();
    await over;
    expect(heard).toEqual(['ECONNRESET']);
    expect(connection.handler).toBeUndefined();
  });

  test('that the socket takes more', async () => {
    const { use, sockets } = await setUp();
    const connection = await use();
    sockets[0]!.pause();
    const drained = new Promise<void>((resolve) => {
      connection.handler = { data() {}, end() {}, closed() {}, drain: resolve };
    });
    let room = true;
    while (room) room = connection.socket.write(Buffer.alloc(1024 * 1024));
    sockets[0]!.resume();
    await drained;
  });

  test('the same few listeners are there after a thousand exchanges', async () => {
    const { use } = await setUp();
    const first = await use();
    const count = () => first.socket.eventNames().map((name) => first.socket.listenerCount(name));
    const before = count();
    first.release();
    for (let i = 0; i < 1_000; i++) (await use()).release();
    expect(await use()).toBe(first);
    expect(count()).toEqual(before);
  });
});

describe('rule 12: connections are bounded', () => {
  test('above the limit the answer is Overloaded; an idle one makes way', async () => {
    const { use, upstreams, target } = await setUp({ connectionLimit: 3 });
    const [first] = [await use(), await use(), await use()];
    expect(await acquire(upstreams, target)).toMatchObject({ code: 'Overloaded', retryAfterSeconds: 1 });
    first.release();
    await use('another upstream');
    await closed(first);
    await expect.poll(() => upstreams.stats()).toEqual({ idle: 0, active: 3 });
  });

  test('attempts under way count', async () => {
    const { upstreams, target } = await setUp({ connectionLimit: 2, lookup: () => {} });
    const cancel = upstreams.acquire(target, false, () => {});
    upstreams.acquire(target, false, () => {});
    expect(await acquire(upstreams, target)).toMatchObject({ code: 'Overloaded' });
    cancel();
    expect(upstreams.stats()).toEqual({ idle: 0, active: 1 });
  });
});

test('after close() idle ones are gone, those in use go on, new ones are refused', async () => {
  const { use, upstreams, target } = await setUp();
  const [idle, busy] = [await use(), await use()];
  idle.release();
  upstreams.close();
  await closed(idle);
  expect(await exchange(busy, '?', '.')).toBe('ok.');
  expect(await acquire(upstreams, target)).toMatchObject({ code: 'Draining' });
  busy.release();
  await closed(busy);
  await expect.poll(() => upstreams.stats()).toEqual({ idle: 0, active: 0 });
});

test('whatever upstreams do and whenever borrowers give up, everything is accounted for', async () => {
  const ca = createTestCa('Test CA');
  const acts: ((socket: Socket) => void)[] = [
    (socket) => socket.destroy(),
    (socket) => socket.resetAndDestroy(),
    (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    (socket) => socket.write(randomBytes(500)),
    (socket) => socket.once('data', () => socket.resetAndDestroy()),
    (socket) => socket.once('data', () => socket.end()),
    (socket) => tls.emit('connection', socket),
    (socket) => tls.emit('connection', socket),
  ];
  const tls = createTlsServer(ca.issue(), (socket) => {
    socket.on('error', () => {}).resume();
    if (socket.remotePort! % 3 === 0) socket.destroy();
    else socket.write('unasked');
  });
  tls.on('tlsClientError', () => {});
  let accepted = 0;
  const port = await listen(createServer((socket) => acts[accepted++ % acts.length]!(socket.on('error', () => {}))));
  const upstreams = createUpstreams({ rootsPem: ca.pem, openTimeoutMs: 300 });
  let outcomes = 0;
  let cancelled = 0;
  for (let i = 0; i < 400; i++) {
    const cancel = upstreams.acquire(targetFor(port), i % 2 === 0, (result) => {
      outcomes++;
      if (!('kind' in result)) result.release();
    });
    if (i % 5 === 0) {
      cancelled++;
      setTimeout(cancel, i % 20);
    }
    if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await expect.poll(() => upstreams.stats(), { timeout: 10_000 }).toEqual({ idle: 0, active: 0 });
  expect(outcomes).toBeGreaterThanOrEqual(400 - cancelled);
});
