import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { stateFiles } from '../../lib/stateDir.ts';
import { ended } from './sidekey.ts';

const MIBIBYTE = 1024 * 1024;
const BRIDGE = fileURLToPath(new URL('../../store/adminBridge.ts', import.meta.url));

function bridge(...args: string[]) {
  return spawn(process.execPath, [BRIDGE, ...args], { stdio: 'pipe' });
}

test('bytes go to the admin socket and back as they are, and the end of one side is told to the other', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'sidekey-bridge-'));
  onTestFinished(() => rmSync(stateDir, { recursive: true }));
  const { adminSocket } = stateFiles(stateDir);
  mkdirSync(dirname(adminSocket), { recursive: true });
  // Says back what it was told, in reverse, once it has been told all.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const chunks: Buffer[] = [];
    socket
      .on('data', (chunk) => chunks.push(chunk as Buffer))
      .on('end', () => socket.end(Buffer.concat(chunks).reverse()));
  }).listen(adminSocket);
  onTestFinished(() => void server.close());
  const sent = randomBytes(MIBIBYTE);
  const child = bridge(stateDir);
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk) => chunks.push(chunk as Buffer));
  child.stdin.end(sent);
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect(code).toBe(0);
  expect(Buffer.concat(chunks).reverse().equals(sent)).toBe(true);
});

test('where no store listens, or this is no container of one, that is said', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'sidekey-bridge-'));
  onTestFinished(() => rmSync(stateDir, { recursive: true }));
  expect(await ended(bridge(stateDir))).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('cannot be reached'),
  });
  expect(await ended(bridge())).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('this is no container of a store'),
  });
});
