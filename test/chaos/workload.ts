import { equal, ok } from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { decodeFields, encodeFields, MATERIAL_CONTENT_TYPE } from '../../api/fields.ts';
import type { KekStatus } from '../../api/kek.ts';
import { LEASE_HEADERS, type StoredCredential } from '../../api/protocol.ts';
import { keyOfPassphrase, newScryptParameters } from '../../store/backup/passphrase.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { type Answer, admin, json, material, SESSION, StoreClient } from '../store/storeClient.ts';
import type { StoreProcess } from '../store/storeProcess.ts';
import type { Ledger, Member } from './ledger.ts';
import type { Random } from './random.ts';

export const KEY = 'default/key';
export const REVOCABLE = 'default/revocable';
export const PASSPHRASE = 'correct horse battery staple';
/** Entries younger than this are never pruned. */
const KEEP_AUDIT_MS = 3_000;
const KEPT_MEMBERS = 4;
const SCRYPT = { ...newScryptParameters(), n: 1024 };
const REVOCATION = { selector: { credential: REVOCABLE } };

/** What goes on beside the writing of each request, one of them in a round. */
export const UPKEEP = ['kek', 'ca', 'prune', 'auditKey', 'backup'] as const;

/** The objects that the workload works on, and the one session that lives through everything. */
export async function prepare(store: StoreProcess): Promise<Member> {
  const operator = await StoreClient.join(store, { kind: 'operator' });
  for (const key of [KEY, REVOCABLE]) {
    const name = key.slice('default/'.length);
    equal(
      (await operator.call('PUT', `/v1/credentials/${key}`, json(credentialRecord({ source: 'store' })))).status,
      200,
    );
    const integration = integrationRecord({ credential: key });
    equal((await operator.call('PUT', `/v1/integrations/default/${name}`, json(integration))).status, 204);
  }
  equal(
    (await admin(store, 'PUT', `/v1/admin/credentials/${REVOCABLE}/material`, material({ value: 'x' }))).status,
    200,
  );
  operator.close();
  const sidecar = await StoreClient.join(store, { kind: 'session', session: SESSION });
  sidecar.close();
  return sidecar;
}

/** The key that wraps what is new. */
export function currentKek({ keys }: KekStatus): string {
  return keys.find(({ current }) => current)!.id;
}

export const lease = (client: StoreClient, credential: string): Promise<Answer> =>
  client.call('POST', '/v1/leases', json({ credential }));

export function leased(answer: Answer): { id: string; version: number; value: string } {
  return {
    id: String(answer.headers[LEASE_HEADERS.id]),
    version: Number(answer.headers[LEASE_HEADERS.version]),
    value: decodeFields(answer.body).get('value')!.toString(),
  };
}

/** Uses every write path at once until the store does not answer any more; throws where an answer breaks a promise. */
export async function work(options: {
  store: StoreProcess;
  sidecar: Member;
  ledger: Ledger;
  random: Random;
  upkeep: (typeof UPKEEP)[number];
  /** Whether an answer that says that the database could not be written is to be lived with. */
  mayFail?: boolean;
  /** Ends the work, where the store lives on. */
  signal?: AbortSignal;
}): Promise<void> {
  const { ledger, mayFail = false, random, sidecar, signal, store, upkeep } = options;
  const client = new StoreClient(store, sidecar.answer, sidecar.tls);
  const tag = `${Date.now()}.${random.below(1e6)}`;
  let n = 0;
  /** Whether it was done; what was refused for want of a database is unknown at worst. */
  const done = (answer: Answer, status: number): boolean => {
    if (mayFail && answer.status === 503) return false;
    equal(answer.status, status, `${answer.status} ${answer.body.subarray(0, 200)}`);
    return true;
  };
  const writers: Record<string, () => Promise<boolean>> = {
    material: async () => {
      const value = `value ${tag}.${n++}`;
      ledger.unanswered.push(value);
      const answer = await admin(store, 'PUT', `/v1/admin/credentials/${KEY}/material`, material({ value }));
      if (!done(answer, 200)) return false;
      const { version } = answer.json<StoredCredential>();
      ok(version > ledger.material.version, `version ${version} after ${ledger.material.version}`);
      ledger.material = { version, value };
      ledger.unanswered = [];
      return true;
    },
    lease: async () => {
      const known = ledger.material.version;
      const atMs = Date.now();
      const answer = await lease(client, KEY);
      if (answer.status === 429 || (answer.status === 409 && known === 0)) return false;
      if (!done(answer, 200)) return false;
      const { id, version } = leased(answer);
      ok(version >= known, `a lease of version ${version} after ${known}`);
      ledger.leases.push({ id, version, atMs });
      return true;
    },
    revocation: async () => {
      const standing = ledger.revoked;
      ledger.revoked = undefined;
      const answer = standing
        ? await admin(store, 'DELETE', `/v1/admin/revocations?id=credential:${REVOCABLE}`)
        : await admin(store, 'POST', '/v1/admin/revocations', json(REVOCATION));
      if (!(standing && answer.status === 404) && !done(answer, 200)) return false;
      ledger.revoked = !standing;
      const asked = await lease(client, REVOCABLE);
      if (asked.status !== 429) done(asked, standing ? 200 : 403);
      return true;
    },
    session: async () => {
      const member = await StoreClient.join(store, { kind: 'session', session: SESSION });
      if (random.below(2) === 0) {
        ledger.living = [...ledger.living, member].slice(-KEPT_MEMBERS);
        member.close();
        return true;
      }
      const answer = await admin(store, 'DELETE', `/v1/admin/sessions/${member.answer.session!.id}`);
      if (done(answer, 204)) {
        ledger.ended = [...ledger.ended, member].slice(-KEPT_MEMBERS);
        done(await lease(member, KEY), 401);
      }
      member.close();
      return true;
    },
    audit: async () => {
      const path = `/${tag}/${n++}`;
      const atMs = Date.now();
      if (!done(await client.call('POST', '/v1/usage', json({ dropped: 0, strict: true, records: [use(path)] })), 204))
        return false;
      ledger.uses.push({ path, atMs });
      return true;
    },
    [upkeep]: async () => {
      await delay(random.below(20));
      if (upkeep === 'kek') {
        const answer = await admin(store, 'POST', '/v1/admin/kek/rotate', json({}));
        if (!done(answer, 200)) return false;
        ledger.kekInForce(currentKek(answer.json<KekStatus>()));
        return true;
      }
      if (upkeep === 'ca') return done(await admin(store, 'POST', '/v1/admin/ca/rotate', json({ root: false })), 200);
      if (upkeep === 'auditKey') return done(await admin(store, 'POST', '/v1/admin/audit/key'), 200);
      if (upkeep === 'backup') return backUp(store, ledger);
      const beforeMs = Date.now() - KEEP_AUDIT_MS;
      ledger.prunedBefore(beforeMs);
      return done(
        await admin(store, 'POST', '/v1/admin/audit/prune', json({ before: new Date(beforeMs).toISOString() })),
        200,
      );
    },
  };
  const isAlive = () => !signal?.aborted && store.child.exitCode === null && store.child.signalCode === null;
  await Promise.all(
    Object.entries(writers).map(async ([name, write]) => {
      while (isAlive()) {
        try {
          if (await write()) ledger.count(name);
          else await delay(20);
        } catch (error) {
          if (!isLost(error, mayFail)) throw error;
          // Gone, or just going.
          await delay(5);
        }
      }
    }),
  );
  client.close();
}

async function backUp(store: StoreProcess, ledger: Ledger): Promise<boolean> {
  const frame = encodeFields([
    ['passphrase', Buffer.from(JSON.stringify(SCRYPT))],
    ['key', await keyOfPassphrase(Buffer.from(PASSPHRASE), SCRYPT)],
  ]);
  const asked = request({ socketPath: store.adminSocket, method: 'POST', path: '/v1/admin/backup', agent: false });
  asked.setHeader('content-type', MATERIAL_CONTENT_TYPE).setHeader('content-length', frame.length);
  asked.end(frame);
  const [response] = await once(asked, 'response');
  const pieces: Buffer[] = [];
  for await (const piece of response) pieces.push(piece);
  if (response.statusCode !== 200) return false;
  ledger.backups = [Buffer.concat(pieces)];
  return true;
}

function use(path: string) {
  return {
    atMs: Date.now(),
    count: 1,
    authority: 'api.example.com:443',
    method: 'GET',
    path,
    status: 200,
    bytesUp: 0,
    bytesDown: 0,
    durationMs: 1,
  };
}

/** Whether a request got no answer. */
function isLost(error: unknown, mayFail: boolean): boolean {
  const { code, message } = error as { code?: string; message: string };
  if (mayFail && /join was answered (503|400)/.test(message)) return true;
  return (
    code !== 'ERR_ASSERTION' && /ECONN|EPIPE|ENOENT|socket hang up|aborted|JSON|closed|TLS/i.test(`${code} ${message}`)
  );
}
