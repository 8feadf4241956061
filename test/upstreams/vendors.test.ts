import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Git } from './git.ts';
import type { LookAlike } from './lookAlike.ts';
import { OpenAi } from './openai.ts';
import { Stripe } from './stripe.ts';
import { createUpstreamCa } from './tls.ts';

const KEY = 'sk-proj-0123456789abcdef0123456789abcdef';

async function started<Server extends LookAlike>(server: Server): Promise<Server> {
  await server.start();
  onTestFinished(() => server.close());
  return server;
}

describe('openai', () => {
  const chat = { model: 'gpt-look-alike', messages: [{ role: 'user' as const, content: 'what do you hold?' }] };

  async function setUp(apiKey = KEY) {
    const server = await started(new OpenAi({ key: KEY, tokenDelayMs: 1 }));
    return { server, client: new OpenAI({ apiKey, baseURL: `${server.url}/v1`, maxRetries: 0 }) };
  }

  test('its own SDK lists models and gets whole and streamed completions', async () => {
    const { server, client } = await setUp();
    expect((await client.models.list()).data.map(({ id }) => id)).toContain('gpt-look-alike');
    const completion = await client.chat.completions.create(chat);
    expect(completion.choices[0]?.message.content).toBe('You asked: what do you hold?');
    const stream = await client.chat.completions.create({
      ...chat,
      stream: true,
      stream_options: { include_usage: true },
    });
    const parts: string[] = [];
    let tokens = 0;
    for await (const part of stream) {
      if (part.choices[0]?.delta.content) parts.push(part.choices[0].delta.content);
      tokens = part.usage?.completion_tokens ?? 0;
    }
    expect(parts.join('')).toBe('You asked: what do you hold?');
    expect(tokens).toBe(parts.length);
    expect(server.lastKey).toBe(KEY);
    expect(server.paths).toEqual(['/v1/models', '/v1/chat/completions', '/v1/chat/completions']);
  });

  test('a wrong, rotated or missing key is refused as OpenAI does', async () => {
    const { server, client } = await setUp('sk-wrong-0123456789');
    const refused = { status: 401, code: 'invalid_api_key', type: 'invalid_request_error' };
    await expect(client.models.list()).rejects.toMatchObject(refused);
    expect(server.lastKey).toBe('sk-wrong-0123456789');
    server.key = 'sk-next';
    await expect(
      new OpenAI({ apiKey: KEY, baseURL: `${server.url}/v1`, maxRetries: 0 }).models.list(),
    ).rejects.toMatchObject(refused);
    const response = await fetch(`${server.url}/v1/models`, { headers: { authorization: `Basic ${btoa(`:${KEY}`)}` } });
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({
      error: { message: expect.stringContaining("You didn't provide an API key"), code: null },
    });
    expect(server.lastKey).toBeUndefined();
  });

  test('bodies that OpenAI would not take are refused', async () => {
    const { server } = await setUp();
    const post = (body: string, contentType = 'application/json', path = '/v1/chat/completions') =>
      fetch(`${server.url}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${KEY}`, 'content-type': contentType },
        body,
      });
    expect((await post('{', 'application/json')).status).toBe(400);
    expect((await post('{}')).status).toBe(400);
    expect((await post('null')).status).toBe(400);
    expect((await post(JSON.stringify({ ...chat, messages: [{ role: 'robot', content: '' }] }))).status).toBe(400);
    expect((await post(JSON.stringify({ ...chat, stream: 'yes' }))).status).toBe(400);
    expect((await post(JSON.stringify(chat), 'text/plain')).status).toBe(400);
    expect((await post(JSON.stringify(chat), 'application/json', '/v1/files')).status).toBe(404);
    expect((await post(JSON.stringify(chat))).status).toBe(200);
  });
});

describe('stripe', () => {
  async function setUp() {
    const server = await started(new Stripe({ key: KEY }));
    const call = (path: string, pair: string | undefined, init: RequestInit = {}) =>
      fetch(`${server.url}${path}`, {
        ...init,
        headers: { ...init.headers, ...(pair === undefined ? {} : { authorization: `Basic ${btoa(pair)}` }) },
      });
    return { server, call };
  }

  test('takes the key as user name with an empty password', async () => {
    const { server, call } = await setUp();
    expect(await (await call('/v1/balance', `${KEY}:`)).json()).toMatchObject({ object: 'balance', available: [{}] });
    const body = new URLSearchParams({ email: 'a@example.com', 'metadata[tier]': 'gold & more' });
    const customer = await call('/v1/customers', `${KEY}:`, { method: 'POST', body });
    expect(await customer.json()).toMatchObject({
      object: 'customer',
      email: 'a@example.com',
      metadata: { tier: 'gold & more' },
    });
    expect(server.lastKey).toBe(KEY);
  });

  test('a wrong or missing key is refused as Stripe does', async () => {
    const { call } = await setUp();
    for (const [pair, message] of [
      ['sk_test_wrong_0123:', /^Invalid API Key provided: sk_test\*+0123$/],
      [`${KEY}:x`, /^Invalid API Key/],
      [`:${KEY}`, /^You did not provide an API key/],
      [undefined, /^You did not provide an API key/],
    ] as const) {
      const response = await call('/v1/balance', pair);
      expect(response.status).toBe(401);
      expect(response.headers.get('www-authenticate')).toBe('Basic realm="Stripe"');
      expect(await response.json()).toEqual({
        error: { message: expect.stringMatching(message), type: 'invalid_request_error' },
      });
    }
  });

  test('what is no form, has unknown parameters or goes elsewhere is refused', async () => {
    const { call } = await setUp();
    const post = async (body: string | URLSearchParams, headers = {}) =>
      (await call('/v1/customers', `${KEY}:`, { method: 'POST', body, headers })).json();
    expect(await post('{}', { 'content-type': 'application/json' })).toMatchObject({
      error: { message: expect.stringContaining('content type') },
    });
    expect(await post(new URLSearchParams({ mail: 'x' }))).toMatchObject({
      error: { code: 'parameter_unknown', param: 'mail' },
    });
    expect(await post(new URLSearchParams({ email: 'x' }))).toMatchObject({
      error: { code: 'email_invalid', param: 'email' },
    });
    expect((await call('/v1/charges', `${KEY}:`)).status).toBe(404);
  });
});

describe('git', () => {
  const TOKEN = 'ghp_0123456789abcdef0123456789abcdef0123';

  async function setUp() {
    const ca = createUpstreamCa();
    const server = await started(new Git({ token: TOKEN, tls: ca.issue(['127.0.0.1']) }));
    const dir = mkdtempSync(join(tmpdir(), 'sidekey-git-test-'));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    writeFileSync(join(dir, 'ca.pem'), ca.pem);
    const env = {
      PATH: process.env.PATH,
      HOME: dir,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_TERMINAL_PROMPT: '0',
      GIT_SSL_CAINFO: join(dir, 'ca.pem'),
    };
    const git = (...args: string[]) => promisify(execFile)('git', args, { cwd: dir, env });
    const remote = (pair: string) => `${server.url.replace('//', `//${pair}@`)}/acme/web.git`;
    return { server, dir, git, remote };
  }

  test('clones and takes a push with the token as password', async () => {
    const { server, dir, git, remote } = await setUp();
    await git('clone', '-q', remote(`x-access-token:${TOKEN}`), 'web');
    // Larger than git's buffer, so that it is sent chunked.
    writeFileSync(join(dir, 'web/large.txt'), Array.from({ length: 60_000 }, (_, i) => `${i * 7919}\n`).join(''));
    const inside = (...args: string[]) => git('-C', 'web', '-c', 'http.postBuffer=65536', ...args);
    await inside('add', '.');
    await inside('-c', 'user.name=a', '-c', 'user.email=a@example.com', 'commit', '-qm', 'Add a large file');
    await inside('push', '-q', 'origin', 'HEAD');
    const pushed = await git('-C', server.repository, 'log', '--format=%s', 'main');
    expect(pushed.stdout).toBe('Add a large file\nBegin\n');
    expect(server.lastToken).toBe(TOKEN);
    await git('clone', '-q', remote(`me:${TOKEN}`), 'again');
  });

  test('a wrong or missing token is refused', async () => {
    const { server, git, remote } = await setUp();
    await expect(git('clone', '-q', remote('x-access-token:ghp_wrong'), 'web')).rejects.toThrow(
      /Authentication failed/,
    );
    expect(server.lastToken).toBe('ghp_wrong');
    await expect(git('clone', '-q', `${server.url}/acme/web.git`, 'web')).rejects.toThrow(/could not read Username/);
    server.token = 'ghp_next';
    await expect(git('clone', '-q', remote(`x-access-token:${TOKEN}`), 'web')).rejects.toThrow(/Authentication failed/);
  });
});
