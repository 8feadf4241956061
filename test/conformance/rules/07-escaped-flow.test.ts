import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { placeholderOf } from '../../../api/placeholder.ts';
import { LOOPBACK } from '../../sidecar/sidecarProcess.ts';
import { formsOf, found } from './forms.ts';
import { BEARER, Lab, SECRET } from './lab.ts';

let lab: Lab;
let placeholder: string;

beforeAll(async () => {
  lab = await Lab.start((made) => {
    placeholder = placeholderOf({ key: 'default/key', hosts: [made.api.host()] });
    return {
      integrations: {
        'default/example': { hosts: [made.api.host()], alias: 'example', placeholder, allowedNetworks: LOOPBACK },
      },
    };
  });
});
afterAll(() => lab?.close());
/** As an API does: 401 unless the key is right. */
beforeEach(() => {
  lab.api.forget();
  lab.api.answer = ({ fields }, socket) => {
    const right = fields.some(([name, value]) => name.toLowerCase() === 'authorization' && value === BEARER);
    socket.write(`HTTP/1.1 ${right ? '200 OK' : '401 Unauthorized'}\r\nContent-Length: 0\r\n\r\n`);
  };
});

async function pastTheSidecar(fields: string): Promise<string> {
  const socket = tlsConnect({ port: lab.api.port, host: '127.0.0.1', servername: 'api.localhost', ca: lab.ca.pem });
  socket.write(`GET / HTTP/1.1\r\nHost: ${lab.api.host()}\r\n${fields}\r\n`);
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return chunk.toString('latin1').split('\r\n')[0]!;
}

test('an agent that goes past the sidecar is nobody to the upstream, with or without its placeholder', async () => {
  expect(await pastTheSidecar('')).toBe('HTTP/1.1 401 Unauthorized');
  expect(await pastTheSidecar(`Authorization: Bearer ${placeholder}\r\n`)).toBe('HTTP/1.1 401 Unauthorized');
  expect((await lab.get('/', `Authorization: Bearer ${placeholder}\r\n`)).status).toBe(200);
  expect(found(Buffer.from(placeholder), formsOf(SECRET))).toEqual([]);
});

test('a host of no Integration that a tunnel leads to gets what the agent has: nothing', async () => {
  const stranger = await lab.upstream(['stranger.localhost']);
  const agent = await lab.tunnel(stranger.host());
  await agent
    .send(`GET / HTTP/1.1\r\nHost: ${lab.api.host()}\r\nAuthorization: Bearer ${placeholder}\r\n\r\n`)
    .answer();
  expect(found(Buffer.from(stranger.bytes, 'latin1'), formsOf(SECRET))).toEqual([]);
});

test('nothing that the agent can read without a request holds the material: bundle, health, metrics, log', async () => {
  await lab.get('/');
  const { sidecar } = lab;
  const texts = [readFileSync(sidecar.bundleFile), ...sidecar.log.map(Buffer.from), Buffer.from(sidecar.caPem)];
  for (const path of ['/healthz', '/readyz', '/metrics'] as const)
    texts.push(Buffer.from((await sidecar.health(path)).body));
  for (const text of texts) expect(found(text, formsOf(SECRET))).toEqual([]);
});
