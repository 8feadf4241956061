import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import { fence } from './fence.ts';

async function world(connections: number) {
  const seen: string[] = [];
  const server = createServer(async (asked, answer) => {
    seen.push(`${asked.method} ${asked.url}`);
    await sleep(100);
    answer.end('done');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  let refusal: Error | undefined;
  const agent = new Agent({ connections });
  const dispatcher = agent.compose(fence(() => refusal));
  onTestFinished(async () => {
    await agent.destroy();
    server.close();
  });
  const ask = async (method: 'GET' | 'PUT', path: string) => {
    const answer = await request(`${url}${path}`, { dispatcher, method });
    return answer.body.text();
  };
  return { ask, seen, refuse: (error: Error | undefined) => (refusal = error) };
}

test('a change that still waits for a connection when the reason against it comes up is never sent', async () => {
  const { ask, refuse, seen } = await world(1);
  const [first, second] = [ask('PUT', '/first'), ask('PUT', '/second')];
  const refused = expect(second).rejects.toThrow('no more');
  await expect.poll(() => seen).toEqual(['PUT /first']);
  refuse(new Error('no more'));
  expect(await first).toBe('done');
  await refused;
  expect(seen).toEqual(['PUT /first']);
});

test('one whose connection is still being made when the reason comes up is never sent', async () => {
  const { ask, refuse, seen } = await world(1);
  const asked = ask('PUT', '/early');
  refuse(new Error('no more'));
  await expect(asked).rejects.toThrow('no more');
  expect(seen).toEqual([]);
});

test('what only reads is let through, and changes are again once nothing speaks against them', async () => {
  const { ask, refuse, seen } = await world(2);
  refuse(new Error('no more'));
  expect(await ask('GET', '/read')).toBe('done');
  await expect(ask('PUT', '/change')).rejects.toThrow('no more');
  refuse(undefined);
  expect(await ask('PUT', '/change')).toBe('done');
  expect(seen).toEqual(['GET /read', 'PUT /change']);
});
