import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { JoinTokenAnswer } from '../../api/admin.ts';
import type { StatusFile } from '../../api/statusFile.ts';
import { systemClock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { type RunningOperator, startOperator } from '../../operator/app.ts';
import { credentialYaml, secretYaml } from '../../operator/testing/yaml.ts';
import { type RunningStore, startStore } from '../../store/app.ts';
import { ensureKekFile } from '../../store/vault/kekFile.ts';
import { admin, auditOf, json } from '../store/storeClient.ts';
import type { StoreProcess } from '../store/storeProcess.ts';
import { eventually } from './operatorProcess.ts';

const log: Logger = { debug() {}, info() {}, warn() {}, error() {} };
let folder: string;
let aheadMs: number;
let store: RunningStore;
let operator: RunningOperator | undefined;
let lost: Error[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sidekey-identity-'));
  aheadMs = 0;
  lost = [];
  operator = undefined;
});
afterEach(async () => {
  await operator?.close();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const files = () => stateFiles(join(folder, '.sidekey'));
/** As the helpers of the store's tests know a store: they need no more than its socket. */
const asProcess = () => ({ adminSocket: files().adminSocket }) as StoreProcess;

async function start(certificateSeconds: number): Promise<void> {
  ensureKekFile(files());
  store = await startStore({
    bootstrap: { part: 'store', stateDir: files().dir, listenHost: '127.0.0.1', listenPort: 0 },
    clock: { nowMs: systemClock.nowMs, monotonicMs: () => systemClock.monotonicMs() + aheadMs },
    log,
    fatal: (error) => lost.push(error),
    settings: { certificateSeconds },
  });
  const { joinToken } = (
    await admin(asProcess(), 'POST', '/v1/admin/join-tokens', json({ kind: 'operator' }))
  ).json<JoinTokenAnswer>();
  const { storeUrl, trustBundlePem } = store;
  operator = await startOperator({
    bootstrap: { part: 'operator', storeUrl, trustBundlePem, joinToken, folder, statusFile: files().status },
    clock: systemClock,
    log,
    fatal: (error) => lost.push(error),
  });
}
const objects = () => (JSON.parse(readFileSync(files().status, 'utf8')) as StatusFile).objects;

test('the certificate is renewed in time, and changes reach the store under the new one', async () => {
  await start(4);
  const renewals = async () =>
    (await auditOf(asProcess())).filter(({ event }) => event.kind === 'identity.renewed').length;
  await eventually('two renewals', async () => (await renewals()) >= 2);
  writeFileSync(join(folder, 'a.yaml'), credentialYaml() + secretYaml('sk-1'));
  await eventually('in force', () => objects()[0]?.status.conditions[0]?.status === 'True');
  expect(lost).toEqual([]);
});

test('an operator whose identity has run out says that it has to be started anew', async () => {
  await start(3600);
  aheadMs = 2 * 3_600_000;
  writeFileSync(join(folder, 'a.yaml'), credentialYaml());
  await eventually('the end', () => lost.length > 0);
  expect(lost[0]).toMatchObject({ code: 'IdentityLost' });
});
