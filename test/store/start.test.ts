import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { stateFiles } from '../../lib/stateDir.ts';
import { ensureKekFile } from '../../store/vault/kekFile.ts';
import { admin, auditOf, SESSION, StoreClient } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

let dir: string;
let state: string;
const running: StoreProcess[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-start-'));
  state = join(dir, 'state');
});
afterEach(async () => {
  for (const store of running.splice(0)) await store.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function start(options: Parameters<typeof StoreProcess.start>[1] = {}): Promise<StoreProcess> {
  const store = await StoreProcess.start(state, options);
  running.push(store);
  return store;
}
const refused = (code: string, ...parts: string[]) =>
  expect.objectContaining({
    code,
    message: expect.stringMatching(parts.map((part) => part.replace(/[.*+?()[\]{}|\\^$]/g, '\\$&')).join('.*')),
  });

test('a key file that others may read is refused with the command that closes it', async () => {
  ensureKekFile(stateFiles(state));
  chmodSync(stateFiles(state).kek, 0o644);
  await expect(start()).rejects.toEqual(refused('KekExposed', `chmod 600 ${stateFiles(state).kek}`));
});

test('a store whose key file is gone says so and makes no new one', async () => {
  await (await start()).stop();
  unlinkSync(stateFiles(state).kek);
  await expect(start({ key: false })).rejects.toEqual(refused('KekMissing', stateFiles(state).kek));
  expect(existsSync(stateFiles(state).kek)).toBe(false);
});

test('a store whose key is elsewhere makes its state directory, for the owner alone', async () => {
  const elsewhere = stateFiles(join(dir, 'elsewhere'));
  ensureKekFile(elsewhere);
  await start({ kek: { file: elsewhere.kek } });
  expect(statSync(state).mode & 0o077).toBe(0);
});

test('another key than the one the database was encrypted under is recognised', async () => {
  await (await start()).stop();
  writeFileSync(stateFiles(state).kek, Buffer.alloc(32, 7).toString('base64'));
  await expect(start()).rejects.toEqual(refused('KekMismatch', 'Put the right key file back'));
});

test('a damaged database is refused with what to do', async () => {
  await (await start()).stop();
  const path = stateFiles(state).database;
  writeFileSync(path, readFileSync(path).fill(0x41, 0, 4096));
  await expect(start()).rejects.toEqual(refused('DatabaseDamaged', path, 'Restore a backup'));
});

test('a second store on the same state is refused by pid of the first, which goes on', async () => {
  const first = await start();
  await expect(start()).rejects.toEqual(refused('StoreRunning', `pid ${first.child.pid}`));
  expect((await admin(first, 'GET', '/v1/admin/sessions')).status).toBe(200);
});

test('a port in use is refused by the name of who has it', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await expect(start({ port })).rejects.toEqual(refused('PortInUse', `port ${port}`, `pid ${process.pid}`));
  server.close();
});

test('the socket of a dead store is replaced, that of a living process is not', async () => {
  await (await start()).kill();
  const socket = stateFiles(state).adminSocket;
  expect(existsSync(socket)).toBe(true);
  await (await start()).stop();
  const squatter = createServer().listen(socket);
  await once(squatter, 'listening');
  await expect(start()).rejects.toEqual(refused('SocketUnusable', socket));
  squatter.close();
});

test('a state directory with a long path has its socket elsewhere, for the owner alone', async () => {
  state = join(dir, 'a'.repeat(100));
  const store = await start();
  expect(dirname(store.adminSocket)).not.toBe(state);
  expect((await admin(store, 'GET', '/v1/admin/sessions')).status).toBe(200);
  expect(statSync(dirname(store.adminSocket)).mode & 0o777).toBe(0o700);
  await store.stop();
  expect(existsSync(dirname(store.adminSocket))).toBe(false);
});

test('stops on SIGTERM with 0, with event streams open, and the audit head written', async () => {
  const store = await start();
  const sidecar = await StoreClient.join(store, { kind: 'session', session: SESSION });
  const events = await sidecar.events();
  expect((await events.next())?.type).toBe('snapshot');
  const last = (await auditOf(store)).at(-1)!;
  expect(await store.stop()).toBe(0);
  expect(await events.next()).toBeUndefined();
  sidecar.close();
  expect(JSON.parse(readFileSync(stateFiles(state).auditHead, 'utf8'))).toMatchObject({
    seq: last.seq,
    hash: last.hash,
  });
  expect(existsSync(store.adminSocket)).toBe(false);
});

test('stops when its parent is gone', async () => {
  const store = await start();
  const exit = once(store.child, 'exit');
  (store.child.stdio[3] as NodeJS.WritableStream & { destroy(): void }).destroy();
  expect(await exit).toEqual([0, null]);
});
