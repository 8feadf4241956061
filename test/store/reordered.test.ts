import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AuditEntry } from '../../api/admin.ts';
import { LEASE_HEADERS } from '../../api/protocol.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { type Answer, auditOf, clientKey, json, material, SESSION, StoreClient, verified } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

const KEY = 'default/key';
const MESSAGES = ['lease', 'renew', 'usage', 'change', 'end'] as const;
type Message = (typeof MESSAGES)[number];
/** Of the session; the others are the operator's. */
const ITS_OWN: readonly Message[] = ['lease', 'renew', 'usage'];
/** Sessions that are tried side by side. */
const TOGETHER = 8;

let dir: string;
let store: StoreProcess;
let operator: StoreClient;
let sessions = 0;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-reordered-'));
  store = await StoreProcess.start(join(dir, 'state'));
  operator = await StoreClient.join(store, { kind: 'operator' });
  await operator.call('PUT', `/v1/credentials/${KEY}`, json(credentialRecord()));
  await operator.call('PUT', `/v1/credentials/${KEY}/material`, material({ value: 'first' }));
  await operator.call('PUT', '/v1/integrations/default/example', json(integrationRecord()));
});
afterAll(async () => {
  operator?.close();
  await store?.stop();
  rmSync(dir, { recursive: true, force: true });
});

function permutations<T>(of: readonly T[]): T[][] {
  if (of.length === 0) return [[]];
  return of.flatMap((first, n) => permutations(of.toSpliced(n, 1)).map((rest) => [first, ...rest]));
}

/** A session of a pod, with a connection for each of its messages. */
class Played {
  readonly uid: string;
  readonly client: StoreClient;
  readonly answers = new Map<Message, Answer>();
  readonly #lines: readonly StoreClient[];
  #renewed: { key: string; answer: Answer } | undefined;

  private constructor(uid: string, client: StoreClient) {
    this.uid = uid;
    this.client = client;
    this.#lines = ITS_OWN.map(() => new StoreClient(store, client.answer, client.tls));
  }

  static async join(): Promise<Played> {
    sessions += 1;
    const uid = `uid-${sessions}`;
    const session = { ...SESSION, pod: { name: 'agent', uid } };
    return new Played(uid, await StoreClient.join(store, { kind: 'session', session }));
  }

  get id(): string {
    return this.client.answer.session!.id;
  }

  /** Opens the connections, so that messages that are sent at once do not wait for handshakes. */
  async connect(): Promise<void> {
    await Promise.all(this.#lines.map((line) => line.call('GET', '/v1/nothing')));
  }

  async send(message: Message): Promise<Answer> {
    const answer = await this.#call(message);
    this.answers.set(message, answer);
    return answer;
  }

  /** What each of its messages is answered now, with the certificate that it began with and the one that it may have got since. */
  async later(): Promise<string[]> {
    const found: string[] = [];
    const identities = [this.client.tls];
    if (this.#renewed?.answer.status === 200)
      identities.push({
        key: this.#renewed.key,
        cert: this.#renewed.answer.json<{ certificatePem: string }>().certificatePem,
      });
    for (const tls of identities) {
      const again = new StoreClient(store, this.client.answer, tls);
      for (const message of ITS_OWN) {
        const { status } = await this.#call(message, again);
        found.push(`${message} ${status}`);
      }
      again.close();
    }
    return found;
  }

  close(): void {
    for (const one of [this.client, ...this.#lines]) one.close();
  }

  async #call(message: Message, through = this.#lines[ITS_OWN.indexOf(message)]): Promise<Answer> {
    switch (message) {
      case 'lease':
        return through!.call('POST', '/v1/leases', json({ credential: KEY }));
      case 'renew': {
        const { key, publicKeyPem } = clientKey();
        const answer = await through!.call('POST', '/v1/renew', json({ publicKeyPem }));
        this.#renewed ??= { key, answer };
        return answer;
      }
      case 'usage':
        return through!.call('POST', '/v1/usage', json({ records: [], dropped: 0 }));
      case 'change':
        return operator.call('PUT', `/v1/sessions?pod=${this.uid}`, json({ role: 'reviewer', tags: ['other'] }));
      case 'end':
        return operator.call('DELETE', `/v1/sessions?pod=${this.uid}`);
    }
  }
}

/** Plays every order, some sessions side by side, while new versions of the credential are written. */
async function playAll(play: (one: Played, order: Message[]) => Promise<void>): Promise<Played[]> {
  const orders = permutations(MESSAGES);
  const all: Played[] = [];
  for (let at = 0; at < orders.length; at += TOGETHER) {
    const written = operator.call('PUT', `/v1/credentials/${KEY}/material`, material({ value: `value ${all.length}` }));
    await Promise.all(
      orders.slice(at, at + TOGETHER).map(async (order) => {
        const one = await Played.join();
        all.push(one);
        await one.connect();
        await play(one, order);
        for (const message of ['change', 'end'] as const) expect(one.answers.get(message)!.status).toBe(204);
        // The end was acknowledged: whatever comes now, nothing is to be had.
        for (const answer of await one.later()) expect(answer).toMatch(/ 401$/);
        one.close();
      }),
    );
    expect((await written).status).toBe(200);
  }
  return all;
}

/** What the audit must show however messages were ordered. */
async function expectInOrder(all: readonly Played[]): Promise<void> {
  const entries = await auditOf(store);
  const ended = new Map<string, number>();
  const issued = new Map<string, { seq: number; inForce: number; version: number }>();
  const renewed = new Map<string, number>();
  let inForce = 0;
  for (const { event, seq } of entries as (AuditEntry & { event: Record<string, unknown> })[]) {
    if (event.kind === 'material.written') {
      expect(Number(event.version)).toBeGreaterThan(inForce);
      inForce = Number(event.version);
    }
    if (event.kind === 'session.ended') ended.set(String(event.session), seq);
    if (event.kind === 'session.changed') expect(ended.has(String(event.session))).toBe(false);
    if (event.kind === 'lease.issued')
      issued.set(String(event.lease), { seq, inForce, version: Number(event.version) });
    if (event.kind === 'identity.renewed') renewed.set(String(event.session), seq);
  }
  for (const one of all) {
    const end = ended.get(one.id)!;
    const lease = one.answers.get('lease')!;
    if (lease.status === 200) {
      const entry = issued.get(String(lease.headers[LEASE_HEADERS.id]))!;
      expect(entry.seq).toBeLessThan(end);
      expect(Number(lease.headers[LEASE_HEADERS.version])).toBe(entry.version);
      expect(entry.version).toBe(entry.inForce);
    }
    if (one.answers.get('renew')!.status === 200) expect(renewed.get(one.id)).toBeLessThan(end);
  }
  expect((await verified(store)).problems).toEqual([]);
}

test('messages of a session in every order, one after the other over several connections: after its change and its end it has just what they leave it', {
  timeout: 120_000,
}, async () => {
  const all = await playAll(async (one, order) => {
    const sent = new Set<Message>();
    for (const message of order) {
      const { status } = await one.send(message);
      if (sent.has('end') && ITS_OWN.includes(message)) expect([message, status]).toEqual([message, 401]);
      else if (message === 'lease') expect(status).toBe(sent.has('change') ? 403 : 200);
      else expect([200, 204]).toContain(status);
      sent.add(message);
    }
  });
  expect(all).toHaveLength(120);
  await expectInOrder(all);
});

test('messages of a session in every order, all at once over several connections: nothing is granted after its end, no version goes back, the audit verifies', {
  timeout: 120_000,
}, async () => {
  let turn = 0;
  const all = await playAll(async (one, order) => {
    // At the same moment, or some milliseconds apart: then what comes first is more often through before the next.
    turn += 1;
    const apartMs = turn % 4;
    await Promise.all(
      order.map(async (message, n) => {
        if (apartMs > 0) await delay(n * apartMs);
        await one.send(message);
      }),
    );
  });
  const got = (message: Message) => all.filter(({ answers }) => answers.get(message)!.status < 300).length;
  console.log(
    `of ${all.length} sessions ${got('lease')} got a lease and ${got('renew')} a new certificate before they ended`,
  );
  for (const message of ITS_OWN)
    for (const { answers } of all) expect([200, 204, 401, 403]).toContain(answers.get(message)!.status);
  await expectInOrder(all);
});
