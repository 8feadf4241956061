import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type JoinProof, STORE_DNS_NAME } from '../../api/protocol.ts';
import { systemClock } from '../../lib/clock.ts';
import { TestStore } from '../../test/sidecar/testStore.ts';
import { LiveGrants } from '../grants/liveGrants.ts';
import { Membership } from '../link/membership.ts';
import { until } from '../link/testkit.ts';
import { createTestCa, listen } from '../upstream/testkit.ts';
import { Admission } from './admission.ts';
import { podToken } from './podToken.ts';

let store: TestStore;

beforeAll(async () => {
  store = await TestStore.start();
  await store.credential();
  await store.material('sk');
  await store.integration();
});
afterAll(() => store?.stop());

/** As a pod would, but that the proof is a join token: whether the store takes a ServiceAccount's is its own affair. */
async function admit(
  proof: () => Promise<JoinProof> = async () => ({ joinToken: (await store.bootstrap()).joinToken }),
  { storeUrl, trustBundlePem }: { storeUrl: string; trustBundlePem: string } = store.process,
) {
  const lines: string[] = [];
  const note = (fields: object, message: string) => void lines.push(`${message} ${JSON.stringify(fields)}`);
  const log = { debug() {}, info: note, warn: note, error: note };
  const kept: string[] = [];
  const membership = new Membership({ log, event: (event) => grants.apply(event) });
  const grants = new LiveGrants({ clock: systemClock, log, source: membership, waitMs: 5_000 });
  const attempts = { count: 0 };
  const admission = new Admission({
    clock: systemClock,
    log,
    storeUrl,
    grants,
    membership,
    trust: { pem: trustBundlePem, keep: (pem) => void kept.push(pem) },
    proof: () => {
      attempts.count += 1;
      return proof();
    },
    refusedPauseSeconds: 0.05,
  });
  admission.start();
  onTestFinished(() => {
    admission.close();
    membership.leave();
    grants.close();
  });
  return { admission, attempts, grants, kept, lines };
}

const lastSession = async () => (await store.sessions()).at(-1)!.id;
const WRONG: JoinProof = { joinToken: 'wrong' };

test('a pod that starts while the store is away is joined when that comes', async () => {
  await store.process.kill();
  const { admission, grants, kept, lines } = await admit();
  await until(() => lines.some((line) => line.includes('cannot be joined yet')));
  expect(admission.failure).toMatch(/^the store could not be joined yet: /);
  expect(grants.known).toBe(false);
  await store.restart();
  await until(() => grants.ready);
  expect(admission.failure).toBeUndefined();
  expect(kept).toEqual([store.process.trustBundlePem]);
  await until(() => grants.leases.stats().held === 1);
});

test('a session that ends is followed by another one, and nothing of it is used in between', async () => {
  const { attempts, grants } = await admit();
  await until(() => grants.leases.stats().held === 1);
  const before = await lastSession();
  const held: number[] = [];
  grants.onRevoked(() => held.push(grants.leases.stats().held));
  await store.endSession(before);
  await until(() => attempts.count === 2 && grants.ready);
  expect(held).toEqual([0]);
  expect(await lastSession()).not.toBe(before);
  await until(() => grants.leases.stats().held === 1);
});

test('a pod that the store does not take is told so, goes on asking, and is taken once the store does', async () => {
  let proof = WRONG;
  const { admission, attempts, grants, lines } = await admit(async () => proof);
  await until(() => attempts.count > 3);
  expect(admission.failure).toBe('the store does not take this pod: JoinTokenInvalid');
  expect(grants.unadmitted).toBe('JoinTokenInvalid');
  // The same line is not repeated.
  expect(lines.filter((line) => line.includes('does not take')).length).toBe(1);
  proof = { joinToken: (await store.bootstrap()).joinToken };
  await until(() => grants.ready);
  expect(grants.unadmitted).toBeUndefined();
});

test('a session that was revoked does not come back unless the store takes the pod again', async () => {
  let proof: JoinProof | undefined;
  const { admission, attempts, grants } = await admit(
    async () => proof ?? { joinToken: (await store.bootstrap()).joinToken },
  );
  await until(() => grants.ready);
  proof = WRONG;
  await store.endSession(await lastSession());
  await until(() => grants.ended);
  expect(grants.table.entries).toEqual([]);
  expect(admission.failure).toContain('JoinTokenInvalid');
  const { count } = attempts;
  await until(() => attempts.count > count);
  proof = undefined;
  await until(() => grants.ready && grants.ended === undefined);
});

test('the store is shown the token of the pod and a public key, nothing else, and its refusal is told by its code alone', async () => {
  const ca = createTestCa('store');
  const seen: string[] = [];
  const server = createServer({ ...ca.issue({ dnsNames: [STORE_DNS_NAME] }) }, (socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      seen.push(chunk.toString());
      const body = JSON.stringify({ code: 'PodUnknown', message: 'there is no pod default/secret-name' });
      socket.write(`HTTP/1.1 403 Forbidden\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    });
  });
  const at = { storeUrl: `https://127.0.0.1:${await listen(server)}`, trustBundlePem: ca.pem };
  const { admission, grants, lines } = await admit(async () => ({ serviceAccountToken: 'aaa.bbb.ccc' }), at);
  await until(() => grants.unadmitted);
  const [head, body] = seen[0]!.split('\r\n\r\n');
  expect(head).toMatch(/^POST \/v1\/join HTTP\/1\.1\r\n/);
  expect(JSON.parse(body!)).toEqual({
    serviceAccountToken: 'aaa.bbb.ccc',
    publicKeyPem: expect.stringMatching(/^-----BEGIN PUBLIC KEY-----/),
  });
  expect(admission.failure).toBe('the store does not take this pod: PodUnknown');
  expect(lines.join()).toContain('there is no pod default/secret-name');
  expect(lines.join()).not.toContain('aaa.bbb.ccc');
});

test('closed, it asks no more', async () => {
  const { admission, attempts, grants } = await admit(async () => WRONG);
  await until(() => attempts.count > 0);
  admission.close();
  await new Promise((resolve) => setTimeout(resolve, 50));
  const { count } = attempts;
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(attempts.count).toBe(count);
  expect(grants.ready).toBe(false);
});

test('the token of the pod is read anew each time; one that is not there is a passing failure', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-token-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, 'token');
  await expect(podToken(file)).rejects.toMatchObject({ code: 'TokenUnreadable', permanent: false });
  for (const token of ['aaa.bbb.ccc', 'ddd.eee.fff']) {
    writeFileSync(file, `${token}\n`);
    expect(await podToken(file)).toBe(token);
  }
  for (const rubbish of ['', ' \n', 'a b', 'x'.repeat(20_000), 'a\0b']) {
    writeFileSync(file, rubbish);
    await expect(podToken(file)).rejects.toMatchObject({ code: 'TokenUnreadable' });
  }
});
