/**
 * An API that needs a key, as a pod: HTTPS at 8443, HTTP at 8080. It prints what each request carried, a JSON object a line.
 *
 * Node runs it as it is; it imports nothing of ours.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';

const TLS_DIR = '/tls';
const STREAM_PAUSE_MS = 100;

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { headers, method, url = '/' } = request;
  const carried = headers.authorization ?? headers['x-api-key'] ?? '';
  let bytes = 0;
  for await (const chunk of request) bytes += (chunk as Buffer).length;
  const path = new URL(url, 'http://upstream').pathname;
  console.log(JSON.stringify({ atMs: Date.now(), method, host: headers.host, path, carried, bytes }));
  if (path === '/stream') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    while (response.writable) {
      response.write(`data: ${Date.now()}\n\n`);
      await delay(STREAM_PAUSE_MS);
    }
    return;
  }
  // What it was shown, so that whoever knows the key can tell; and never the key.
  const key = createHash('sha256').update(String(carried)).digest('hex').slice(0, 16);
  const status = carried === '' ? 401 : 200;
  const body = JSON.stringify({ ok: status === 200, key, choices: [{ message: { role: 'assistant', content: key } }] });
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${body}\n`);
}

const handle = (request: IncomingMessage, response: ServerResponse) => {
  answer(request, response).catch(() => response.destroy());
};
createServer(handle).listen(8080, '::');
const [cert, key] = ['tls.crt', 'tls.key'].map((name) => readFileSync(`${TLS_DIR}/${name}`));
createSecureServer({ cert: cert!, key: key! }, handle).listen(8443, '::', () => console.error('listening'));
process.on('SIGTERM', () => process.exit(0));
