import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, onTestFinished, test } from 'vitest';
import { placeholderOf } from '../../../api/placeholder.ts';
import { until } from '../../../sidecar/link/testkit.ts';
import { writableMemory } from '../../processMemory.ts';
import { LOOPBACK, type SidecarProcessOptions } from '../../sidecar/sidecarProcess.ts';
import { formsOf, found } from './forms.ts';
import { Lab, SECRET } from './lab.ts';

const REQUESTS = 10_000;
const PLACEMENTS = ['bearer', 'basic', 'header', 'query', 'slot'];
const FORMS = [...formsOf(SECRET), ...formsOf(`agent:${SECRET}`)];

let lab: Lab;
let dir: string;
let placeholder: string;

const startLab = (options: SidecarProcessOptions) =>
  Lab.start(
    (made) => {
      const hosts = PLACEMENTS.map((name) => made.api.host(`${name}.localhost`));
      placeholder = placeholderOf({ key: 'default/key', hosts });
      const injects: Record<string, object> = {
        bearer: { bearer: {} },
        basic: { basic: { username: 'agent' } },
        header: { header: { name: 'X-Api-Key' } },
        query: { query: { name: 'key' } },
        slot: { placeholder: { in: ['Header', 'Query', 'Path', 'Body'] } },
      };
      const integration = (name: string) => ({
        hosts: [made.api.host(`${name}.localhost`)],
        alias: name,
        allowedNetworks: LOOPBACK,
        placeholder,
        inject: [injects[name]!],
      });
      return {
        credentials: { 'default/key': { hosts, material: SECRET } },
        integrations: Object.fromEntries(PLACEMENTS.map((name) => [`default/${name}`, integration(name)])),
        ...options,
      };
    },
    PLACEMENTS.map((name) => `${name}.localhost`),
  );

afterEach(() => lab?.close());

/** 10,000 of them, with every placement in turn; every `echoEvery`th answer is an echo. */
async function sendRequests(echoEvery: number): Promise<void> {
  let count = 0;
  let bare = 0;
  lab.api.answer = ({ head, body }, socket) => {
    if (found(Buffer.from(head, 'latin1'), FORMS).length === 0) bare += 1;
    lab.api.requests = [];
    const echo = ++count % echoEvery === 0 ? head + body.toString('latin1') : 'ok';
    socket.write(Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${echo.length}\r\n\r\n${echo}`, 'latin1'));
  };
  const agent = new Agent({ keepAlive: true, maxSockets: 20 });
  const one = (i: number) =>
    new Promise<void>((resolve, reject) => {
      const name = PLACEMENTS[i % PLACEMENTS.length]!;
      const slot = name === 'slot';
      const outgoing = httpRequest({
        agent,
        port: lab.sidecar.proxyPort,
        method: slot ? 'POST' : 'GET',
        path: slot ? `/slot/${placeholder}?k=${placeholder}` : `/${name}/`,
        headers: slot ? { 'x-key': placeholder, 'content-type': 'application/json' } : {},
      });
      outgoing.on('error', reject).on('response', (response) => response.resume().on('end', resolve));
      outgoing.end(slot ? JSON.stringify({ key: placeholder }) : undefined);
    });
  for (let sent = 0; sent < REQUESTS; sent += 500)
    await Promise.all(Array.from({ length: 500 }, (_, i) => one(sent + i)));
  agent.destroy();
  expect({ count, bare }).toEqual({ count: REQUESTS, bare: 0 });
}

test('after 10,000 requests with every placement, echoes included, a heap snapshot holds the material in no spelling', async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-heap-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  lab = await startLab({ nodeArguments: ['--heapsnapshot-signal=SIGUSR2', `--diagnostic-dir=${dir}`] });
  await sendRequests(100);
  lab.sidecar.child.kill('SIGUSR2');
  const file = await until(() => readdirSync(dir).find((name) => name.endsWith('.heapsnapshot')));
  // It is written in pieces; its last byte closes the object.
  const snapshot = await until(() => {
    const bytes = readFileSync(join(dir, file));
    return bytes.subarray(-3).includes('}') && bytes;
  });
  // Strings are in it, and those that a placement could have made would be.
  expect(snapshot.includes(placeholder)).toBe(true);
  const spelled = FORMS.map((form) => Buffer.from(JSON.stringify(form.toString()).slice(1, -1)));
  expect(found(snapshot, [...FORMS, ...spelled])).toEqual([]);
}, 60_000);

test('once its lease is revoked, the memory of the process holds the material in no spelling', async () => {
  // Node's TLS copies what is written into memory that it frees as it is; glibc overwrites that if told so.
  const GLIBC_TUNABLES = 'glibc.malloc.perturb=85:glibc.malloc.tcache_count=0';
  lab = await startLab({ env: { PATH: process.env.PATH, GLIBC_TUNABLES } });
  await sendRequests(Number.POSITIVE_INFINITY);
  // While the lease lasts it is there: the search does find.
  expect(memory()).toContain(`[heap] ${SECRET}`);
  for (const name of PLACEMENTS) await lab.store.removeIntegration(`default/${name}`);
  await until(async () => (await lab.get('/', '', 'slot')).status === 404);
  await until(() => memory().length === 0).catch(() => {});
  expect(memory()).toEqual([]);
}, 60_000);

/** Where the material is: but for the stack, on which Node's TLS leaves the last 16 KiB that it has read. */
function memory(): string[] {
  const places = new Set<string>();
  for (const { region, bytes } of writableMemory(lab.sidecar.child.pid!, 100))
    for (const form of region === '[stack]' ? [] : found(bytes, FORMS)) places.add(`${region} ${form}`);
  return [...places];
}
