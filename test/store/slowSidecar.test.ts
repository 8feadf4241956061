import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { SessionEvent } from '../../api/protocol.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { admin, type EventReader, json, material, SESSION, StoreClient } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

const CHANGES = 1_000;
/** Each so many changes one is of a grant with rules of some kilobytes, and a revocation that is lifted again. */
const GRANT_EVERY = 10;
const REVOKE_EVERY = 50;
const PIECE_BYTES = 64;
const BYTES_PER_SECOND = 40_000;
/** How far it is let fall behind: less than the store's bound for what it keeps for a reader. */
const LAG_BYTES = 900_000;
/** How long after the last change the slow one may still be on its way through what was sent. */
const SLOW_LIMIT_MS = 60_000;
const OTHERS_LIMIT_MS = 1_000;
const MEMORY_LIMIT_BYTES = 96 * 1024 * 1024;

/** A line on which what the store sends arrives a few bytes at a time. */
class SlowLine {
  readonly #server = createServer((socket) => this.#connected(socket));
  readonly #to: URL;
  /** Bytes that went through. */
  bytes = 0;

  constructor(to: string) {
    this.#to = new URL(to);
  }

  async start(): Promise<string> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
  }

  #connected(client: Socket): void {
    const store = connect({ host: this.#to.hostname, port: Number(this.#to.port) });
    const end = () => {
      clearInterval(timer);
      client.destroy();
      store.destroy();
    };
    client.setNoDelay(true);
    for (const socket of [client, store]) socket.on('error', end).on('close', end);
    client.pipe(store);
    const fromMs = performance.now();
    let through = 0;
    const timer = setInterval(() => {
      // By the time that has passed: timers of a busy machine are late.
      let allowed = ((performance.now() - fromMs) / 1000) * BYTES_PER_SECOND - through;
      while (allowed >= PIECE_BYTES) {
        const piece = store.read(Math.min(PIECE_BYTES, store.readableLength)) as Buffer | null;
        if (piece === null) break;
        client.write(piece);
        through += piece.length;
        this.bytes += piece.length;
        allowed -= piece.length;
      }
    }, 2);
  }
}

/** All that it is told. */
class Listener {
  readonly events: SessionEvent[] = [];
  ended = false;
  /** About as many as were sent to it. */
  bytes = 0;

  constructor(reader: EventReader) {
    this.#listen(reader).catch(() => {
      this.ended = true;
    });
  }

  async #listen(reader: EventReader): Promise<void> {
    for (let event = await reader.next(); event !== undefined; event = await reader.next()) {
      this.events.push(event);
      this.bytes += JSON.stringify(event).length;
    }
    this.ended = true;
  }

  versions(): number[] {
    return this.events.flatMap((event) => (event.type === 'version' ? [event.version] : []));
  }

  count(type: SessionEvent['type']): number {
    return this.events.filter((event) => event.type === type).length;
  }

  async until(what: () => boolean, limitMs: number): Promise<void> {
    for (const untilMs = performance.now() + limitMs; !what(); ) {
      if (this.ended || performance.now() > untilMs) throw new Error(`${this.ended ? 'cut off' : 'late'}: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

test(`a sidecar that takes a few bytes at a time hears each of ${CHANGES} changes, while others hear within a second and the store’s memory stays bounded`, {
  timeout: 240_000,
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-slow-'));
  const store = await StoreProcess.start(join(dir, 'state'));
  const line = new SlowLine(store.storeUrl);
  const slowUrl = await line.start();
  onTestFinished(async () => {
    line.close();
    await store.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  const operator = await StoreClient.join(store, { kind: 'operator' });
  await operator.call('PUT', '/v1/credentials/default/key', json(credentialRecord({ source: 'store' })));
  const grant = (n: number) =>
    operator.call(
      'PUT',
      '/v1/integrations/default/example',
      json(
        integrationRecord({
          rules: Array.from({ length: 16 }, () => ({
            action: 'Allow' as const,
            paths: [{ type: 'Exact' as const, value: `/${n}/${'p'.repeat(500)}` }],
          })),
        }),
      ),
    );
  await grant(0);
  const joined = await StoreClient.join(store, { kind: 'session', session: SESSION });
  const slowClient = new StoreClient({ ...store, storeUrl: slowUrl }, joined.answer, joined.tls);
  const fastClients = await Promise.all(
    Array.from({ length: 3 }, () => StoreClient.join(store, { kind: 'session', session: SESSION })),
  );
  onTestFinished(() => {
    for (const client of [operator, joined, slowClient, ...fastClients]) client.close();
  });
  const slow = new Listener(await slowClient.events());
  const fast = await Promise.all(fastClients.map(async (client) => new Listener(await client.events())));
  for (const one of [slow, ...fast]) await one.until(() => one.count('snapshot') === 1, SLOW_LIMIT_MS);

  const memoryBefore = residentBytes(store);
  let mostMemory = 0;
  let sent = 0;
  let most = 0;
  let [version, grants, revocations] = [0, 0, 0];
  const late: number[] = [];
  for (let n = 1; n <= CHANGES; n += 1) {
    const fromMs = performance.now();
    if (n % REVOKE_EVERY === 0) {
      await admin(store, 'POST', '/v1/admin/revocations', json({ selector: { credential: 'default/key' } }));
      await admin(store, 'DELETE', '/v1/admin/revocations?id=credential:default/key');
      revocations += 1;
    } else if (n % GRANT_EVERY === 0) {
      await grant(n);
      grants += 1;
    } else {
      await admin(store, 'PUT', '/v1/admin/credentials/default/key/material', material({ value: `value ${n}` }));
      version += 1;
    }
    for (const one of fast)
      await one.until(
        () => one.versions().at(-1) === version && one.count('revoke') === revocations && one.count('grant') >= grants,
        SLOW_LIMIT_MS,
      );
    late.push(performance.now() - fromMs);
    sent = Math.max(...fast.map(({ bytes }) => bytes));
    await slow.until(() => sent - line.bytes < LAG_BYTES, SLOW_LIMIT_MS);
    most = Math.max(most, sent - line.bytes);
    if (n % 20 === 0) mostMemory = Math.max(mostMemory, residentBytes(store));
  }
  const doneMs = performance.now();
  const behind = version - (slow.versions().at(-1) ?? 0);
  await slow.until(() => slow.events.length >= fast[0]!.events.length, SLOW_LIMIT_MS);
  late.sort((a, b) => a - b);
  console.log(
    `others: median ${late[CHANGES >> 1]!.toFixed(1)} ms, most ${late.at(-1)!.toFixed(0)} ms; the slow one was ${behind} versions and ${most} bytes behind and had all after ` +
      `${(performance.now() - doneMs).toFixed(0)} ms, ${line.bytes} bytes; memory grew by ${((mostMemory - memoryBefore) / 1048576).toFixed(0)} MiB`,
  );

  expect(late[Math.floor(CHANGES * 0.99)]!).toBeLessThan(OTHERS_LIMIT_MS);
  // It was slow, and was never told the whole anew: it heard each change, in order.
  expect(most).toBeGreaterThan(20_000);
  expect(slow.count('snapshot')).toBe(1);
  expect(slow.versions().filter((one, index, all) => one !== all[index - 1])).toEqual(
    Array.from({ length: version }, (_, n) => n + 1),
  );
  const kinds = ({ events }: Listener) => events.map((event) => event.type);
  expect(kinds(slow)).toEqual(kinds(fast[0]!));
  expect(mostMemory - memoryBefore).toBeLessThan(MEMORY_LIMIT_BYTES);

  // What counts for it most still comes within bounds: the end of its session.
  const endMs = performance.now();
  await admin(store, 'DELETE', `/v1/admin/sessions/${joined.answer.session!.id}`);
  await slow.until(() => slow.count('end') === 1, SLOW_LIMIT_MS);
  console.log(`the end of its session reached it after ${(performance.now() - endMs).toFixed(0)} ms`);
});

function residentBytes({ child }: StoreProcess): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'latin1');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) * 1024;
}
