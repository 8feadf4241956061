import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { until } from '../../sidecar/link/testkit.ts';
import { restoreBackup } from '../../store/backup/restore.ts';
import { silentLog } from '../../store/testing/core.ts';
import { LOOPBACK, SidecarProcess } from '../sidecar/sidecarProcess.ts';
import { admin, material } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

let sidecar: SidecarProcess | undefined;
const dir = mkdtempSync(join(tmpdir(), 'sidekey-restored-'));
afterEach(async () => {
  await sidecar?.close();
  rmSync(dir, { recursive: true, force: true });
});

test('a sidecar that holds a certificate and a lease of before a restore has nothing after it', async () => {
  sidecar = await SidecarProcess.start({
    credentials: { 'default/key': { material: 'secret' } },
    integrations: { 'default/example': { allowedNetworks: LOOPBACK } },
  });
  const { store } = sidecar;
  const leased = async () => /sidekey_leases\{[^}]*\} ([1-9])/.test((await sidecar!.health('/metrics')).body);
  await until(leased);
  const { body, status } = await admin(store.process, 'POST', '/v1/admin/backup', material({}));
  expect(status).toBe(200);
  const file = join(dir, 'backup');
  writeFileSync(file, body);

  const port = Number(new URL(store.process.storeUrl).port);
  await store.process.kill();
  await restoreBackup({
    path: file,
    files: stateFiles(store.process.stateDir),
    passphrase: () => Promise.reject(new Error('not asked for')),
    force: true,
    clock: systemClock,
    log: silentLog,
  });
  store.process = await StoreProcess.start(store.process.stateDir, { port });

  const ready = await until(async () => {
    const answer = await sidecar!.health('/readyz');
    return answer.status === 503 && answer;
  });
  expect(ready.body).toMatch(/the session has ended/);
  expect(await leased()).toBe(false);
  expect(await store.sessions()).toEqual([]);
}, 30_000);
