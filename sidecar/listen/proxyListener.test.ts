import { describe, expect, test } from 'vitest';
import { get as GET, parsed, setUp, until } from '../exchange/testkit.ts';
import { dial, echoHeads, startProxy } from './testkit.ts';

describe('the listener', () => {
  test('takes a bounded number of connections and refuses more', async () => {
    const { proxy, host, url } = await setUp({ limits: { clientConnectionLimit: 2 } }, echoHeads);
    const first = await dial(proxy.port);
    await dial(proxy.port);
    await until(() => proxy.deps.metrics.clientConnections === 2);
    const third = await dial(proxy.port);
    expect(parsed((await third.answer()).head)).toMatchObject({ status: 503, code: 'Overloaded' });
    await third.rest();
    expect((await first.send(GET(`${url}/`, host)).answer()).body).toContain('GET / ');
    first.socket.destroy();
    await until(() => proxy.deps.metrics.clientConnections === 1);
    expect((await (await dial(proxy.port)).send(GET(`${url}/`, host)).answer()).body).toContain('GET / ');
    expect(await proxy.used()).toContainEqual(
      expect.objectContaining({ refusal: 'Overloaded', status: 503, count: 1 }),
    );
    expect(proxy.log.join()).toContain('a connection was refused');
  });

  test('holds thousands of idle connections at little cost', async () => {
    const proxy = await startProxy();
    const before = process.memoryUsage().rss;
    const count = 2_000;
    for (let i = 0; i < count; i += 100) await Promise.all(Array.from({ length: 100 }, () => dial(proxy.port)));
    await until(() => proxy.deps.metrics.clientConnections === count);
    // Both ends are in this process, and vitest's own garbage.
    expect((process.memoryUsage().rss - before) / count).toBeLessThan(60_000);
  });

  test('draining closes idle connections, lets what runs finish, and takes nothing new', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const idle = await dial(proxy.port);
    const busy = await dial(proxy.port);
    busy.send(GET(`${url}/`, host));
    const peer = await upstream.next();
    await peer.until('\r\n\r\n');
    const drained = proxy.listener.drain(5_000);
    await idle.rest();
    await expect(dial(proxy.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    peer.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    expect(await busy.rest()).toMatch(/\r\nConnection: close\r\n\r\nok$/);
    await drained;
  });

  test('draining closes a connection whose answer had begun before, once that is over', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.send(GET(`${url}/`, host));
    const peer = await upstream.next();
    await peer.until('\r\n\r\n');
    peer.send('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nx\n');
    await agent.until('x\n');
    const drained = proxy.listener.drain(5_000);
    peer.send('y\n');
    expect(await agent.rest()).toBe('y\n');
    await drained;
  });

  test('draining ends what does not finish in time', async () => {
    const { proxy, host, url, upstream } = await setUp();
    const agent = await dial(proxy.port);
    agent.send(GET(`${url}/`, host));
    const peer = await upstream.next();
    await proxy.listener.drain(50);
    await agent.rest();
    await peer.rest();
  });

  test('says which process has the port', async () => {
    const { port, deps } = await startProxy();
    const { ProxyListener } = await import('./proxyListener.ts');
    await expect(new ProxyListener(deps).listen(port, '127.0.0.1')).rejects.toMatchObject({ code: 'PortInUse' });
  });
});
