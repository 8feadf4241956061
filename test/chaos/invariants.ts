import { deepEqual, equal, ok } from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { AuditChain, AuditEntry } from '../../api/admin.ts';
import type { KekStatus } from '../../api/kek.ts';
import { verifyAudit } from '../../lib/auditVerify.ts';
import { systemClock } from '../../lib/clock.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { inspectBackup } from '../../store/backup/restore.ts';
import { silentLog } from '../../store/testing/core.ts';
import { admin, StoreClient } from '../store/storeClient.ts';
import type { StoreProcess } from '../store/storeProcess.ts';
import type { Ledger, Member } from './ledger.ts';
import { currentKek, KEY, lease, leased, PASSPHRASE, REVOCABLE } from './workload.ts';

const ROTATION_LIMIT_MS = 20_000;

/** Holds a store that was started anew against what it had acknowledged. @throws AssertionError that names the promise that was broken */
export async function check(store: StoreProcess, sidecar: Member, ledger: Ledger): Promise<void> {
  const client = new StoreClient(store, sidecar.answer, sidecar.tls);
  try {
    await checkMaterial(client, ledger);
    await checkRevocation(client, ledger);
    await checkSessions(store, ledger);
    await checkAudit(store, ledger);
    await checkKek(store, ledger);
    await checkBackups(ledger);
  } finally {
    client.close();
  }
}

async function checkMaterial(client: StoreClient, ledger: Ledger): Promise<void> {
  const atMs = Date.now();
  const answer = await lease(client, KEY);
  if (answer.status === 409 && ledger.material.version === 0) return;
  equal(answer.status, 200, `a lease was answered ${answer.status} ${answer.body}`);
  const { id, version, value } = leased(answer);
  const { material, unanswered } = ledger;
  // A write that was not answered may have happened; one that was must have.
  if (version === material.version) equal(value, material.value, 'the value of a version has changed');
  else {
    ok(version > material.version, `version ${version} came back after ${material.version} was acknowledged`);
    ok(unanswered.includes(value), `a value that nobody wrote: ${value}`);
  }
  ledger.material = { version, value };
  ledger.unanswered = [];
  ledger.leases.push({ id, version, atMs });
}

async function checkRevocation(client: StoreClient, ledger: Ledger): Promise<void> {
  const { status } = await lease(client, REVOCABLE);
  const revoked = status === 403;
  if (!revoked) equal(status, 200);
  if (ledger.revoked !== undefined) equal(revoked, ledger.revoked, 'a revocation, or its end, was forgotten');
  ledger.revoked = revoked;
}

async function checkSessions(store: StoreProcess, ledger: Ledger): Promise<void> {
  for (const [members, status, what] of [
    [ledger.living, 200, 'a session that had joined is not known'],
    [ledger.ended, 401, 'a session that had ended lives'],
  ] as const) {
    for (const { answer, tls } of members) {
      const member = new StoreClient(store, answer, tls);
      const answered = await member.call('GET', '/v1/session/snapshot');
      member.close();
      equal(answered.status, status, `${what}: ${answered.body}`);
    }
  }
}

async function checkAudit(store: StoreProcess, ledger: Ledger): Promise<void> {
  const chains = (await admin(store, 'GET', '/v1/admin/audit/chains')).json<AuditChain[]>();
  const entries: AuditEntry[] = [];
  for (const { chain } of chains) {
    const { body } = await admin(store, 'GET', `/v1/admin/audit?chain=${chain}`);
    for (const line of body.toString().split('\n')) if (line !== '') entries.push(JSON.parse(line));
  }
  const { problems } = await verifyAudit(
    entries,
    chains.flatMap(({ head }) => head ?? []),
    chains.flatMap(({ checkpoint }) => checkpoint ?? []),
  );
  deepEqual(problems, [], 'the chain does not verify');
  const issued = new Set<unknown>();
  const used = new Set<unknown>();
  for (const { event } of entries) {
    if (event.kind === 'lease.issued') issued.add(event.lease);
    if (event.kind === 'usage.intended')
      for (const path of JSON.stringify(event).match(/"\/\d+\.\d+\/\d+"/g) ?? []) used.add(JSON.parse(path));
  }
  deepEqual(
    ledger.leases.filter(({ id }) => !issued.has(id)),
    [],
    'leases without their record',
  );
  deepEqual(
    ledger.uses.filter(({ path }) => !used.has(path)),
    [],
    'uses without their record',
  );
}

/** A rotation that was begun comes to its end, with everything under one key, and one that was acknowledged is not undone. */
async function checkKek(store: StoreProcess, ledger: Ledger): Promise<void> {
  const untilMs = performance.now() + ROTATION_LIMIT_MS;
  for (;;) {
    const status = (await admin(store, 'GET', '/v1/admin/kek')).json<KekStatus>();
    const { keys, rotation, sealed } = status;
    equal(sealed, undefined);
    const kek = currentKek(status);
    ok(!ledger.oldKeks.has(kek), `${kek} is in force again after another KEK was acknowledged`);
    ledger.kekInForce(kek);
    if (rotation === undefined) {
      equal(
        keys.filter(({ dataKeys, ownKeys }) => dataKeys + ownKeys > 0).length,
        1,
        'keys are under more than one KEK',
      );
      return;
    }
    ok(performance.now() < untilMs, `a rotation of the KEK does not end: ${JSON.stringify(rotation)}`);
    await delay(20);
  }
}

/** What was answered to its end is a whole backup. */
async function checkBackups(ledger: Ledger): Promise<void> {
  for (const bytes of ledger.backups.splice(0)) {
    const dir = mkdtempSync(join(tmpdir(), 'sidekey-chaos-backup-'));
    try {
      const path = join(dir, 'backup');
      writeFileSync(path, bytes);
      const passphrase = async () => Buffer.from(PASSPHRASE);
      await inspectBackup({ path, files: stateFiles(dir), passphrase, clock: systemClock, log: silentLog });
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }
}
