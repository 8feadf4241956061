import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import type { JoinTokenAnswer } from '../../../api/admin.ts';
import { decodeFields } from '../../../api/fields.ts';
import { LEASE_HEADERS, type StoredCredential, type StoreError } from '../../../api/protocol.ts';
import { until } from '../../../sidecar/link/testkit.ts';
import { credentialRecord, integrationRecord } from '../../../store/testing/records.ts';
import { PostgresServer } from '../../postgres/server.ts';
import { LOOPBACK, SidecarProcess } from '../../sidecar/sidecarProcess.ts';
import { TestStore } from '../../sidecar/testStore.ts';
import { TestUpstream } from '../../sidecar/upstream.ts';
import { admin, json, material, SESSION, StoreClient, verifiedAll } from '../../store/storeClient.ts';
import { StoreProcess } from '../../store/storeProcess.ts';
import { eventually } from './eventually.ts';

const DISK_BYTES = 160 * 1024 * 1024;
const ROOM_BYTES = 2_500_000;
const WRITES_LIMIT = 2_000;
// A disk of its own takes root.
const canMount = process.platform === 'linux' && process.getuid?.() === 0;

/** Takes all the space there is but for some writes. */
function fill(path: string): void {
  for (let bytes = 8 * 1024 * 1024; bytes >= 1024; bytes = Math.floor(bytes / 2)) {
    for (;;) {
      try {
        writeFileSync(path, Buffer.alloc(bytes), { flag: 'a' });
      } catch {
        break; // A smaller piece may still fit.
      }
    }
  }
  truncateSync(path, statSync(path).size - ROOM_BYTES);
}

if (canMount)
  test.each([
    ['tables and log', false],
    ['tables, the log elsewhere', true],
  ])(
    'the disk of PostgreSQL (%s) is full: writes fail with StorageFailed, leases that were given go on, nothing acknowledged is lost, and it goes on once there is room',
    {
      timeout: 120_000,
    },
    async (_what, logElsewhere) => {
      const disk = mkdtempSync(join(tmpdir(), 'sidekey-full-'));
      const dir = mkdtempSync(join(tmpdir(), 'sidekey-full-store-'));
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES},mode=755`, 'tmpfs', disk]);
      onTestFinished(() => {
        execFileSync('umount', ['-l', disk]);
        for (const one of [disk, dir]) rmSync(one, { recursive: true, force: true });
      });
      const server = await PostgresServer.start({
        // Room for the log is not taken from what was there before.
        settings: ['min_wal_size=2MB', 'max_wal_size=1GB', 'autovacuum=off'],
        under: disk,
        ...(logElsewhere && { logUnder: tmpdir() }),
      });
      onTestFinished(() => server.remove());
      const store = await StoreProcess.start(join(dir, 'state'), { databaseUrl: await server.newDatabase() });
      onTestFinished(() => store.kill());
      const upstream = await TestUpstream.start((_, response) => response.end('fine'));
      // Lends the sidecar its directory; what it is told of is the other one.
      const lender = await TestStore.start();
      onTestFinished(async () => {
        upstream.stop();
        await lender.stop();
      });

      const operator = await StoreClient.join(store, { kind: 'operator' });
      const client = await StoreClient.join(store, { kind: 'session', session: SESSION });
      onTestFinished(() => {
        for (const one of [operator, client]) one.close();
      });
      const hosts = [upstream.host];
      for (const [name, changes] of [
        ['used', { hosts, alias: 'used', allowedNetworks: LOOPBACK }],
        ['written', {}],
      ] as const) {
        const credential = credentialRecord({ source: 'store', ...('hosts' in changes && { hosts }) });
        await operator.call('PUT', `/v1/credentials/default/${name}`, json(credential));
        const integration = integrationRecord({ credential: `default/${name}`, ...changes });
        await operator.call('PUT', `/v1/integrations/default/${name}`, json(integration));
      }
      const put = (key: string, value: string) =>
        admin(store, 'PUT', `/v1/admin/credentials/default/${key}/material`, material({ value }));
      expect((await put('used', 'in use')).status).toBe(200);
      const token = await admin(store, 'POST', '/v1/admin/join-tokens', json({ kind: 'session', session: SESSION }));
      const sidecar = await SidecarProcess.start({
        store: lender,
        extraCaPem: upstream.caPem,
        bootstrap: {
          storeUrl: store.storeUrl,
          trustBundlePem: store.trustBundlePem,
          joinToken: token.json<JoinTokenAnswer>().joinToken,
        },
      });
      onTestFinished(() => sidecar.close());
      const request = () =>
        new Promise<number>((resolve, reject) =>
          get(`http://127.0.0.1:${sidecar.proxyPort}/used/x`, { agent: false }, (response) => {
            response.resume();
            resolve(response.statusCode!);
          }).on('error', reject),
        );
      await until(async () => (await request()) === 200);

      fill(join(disk, 'filler'));
      let acknowledged: { version: number; value: string } | undefined;
      let unsure: string[] = [];
      let refusals = 0;
      for (let n = 0; n < WRITES_LIMIT && refusals < 5; n += 1) {
        const value = `${n} ${randomBytes(12_000).toString('base64')}`;
        const answer = await put('written', value);
        if (answer.status === 200) {
          acknowledged = { version: answer.json<StoredCredential>().version, value };
          unsure = [];
        } else {
          expect([answer.status, answer.json<StoreError>().code]).toEqual([503, 'StorageFailed']);
          expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
          unsure.push(value);
          refusals += 1;
          await delay(100);
        }
        expect(await request()).toBe(200);
      }
      expect(refusals).toBe(5);
      expect(acknowledged?.version).toBeGreaterThan(0);
      const lease = (credential: string) => client.call('POST', '/v1/leases', json({ credential }));
      // The record of a lease is small, and may fit where a value does not.
      const meanwhile = await lease('default/written');
      if (meanwhile.status === 200)
        expect([acknowledged?.value, ...unsure]).toContain(decodeFields(meanwhile.body).get('value')!.toString());
      else expect([meanwhile.status, meanwhile.json<StoreError>().code]).toEqual([503, 'StorageFailed']);
      expect(store.child.exitCode).toBeNull();
      console.log(
        `version ${acknowledged?.version ?? 0} was the last; the server ${server.isGone ? 'has ended' : 'goes on'}`,
      );

      rmSync(join(disk, 'filler'));
      // A server that could not write its log has ended, and does not come up without room: whoever runs it starts it again.
      await delay(500);
      if (server.isGone) await server.resume();
      await eventually(async () => (await put('used', 'after')).status === 200, 30_000);
      await until(async () => {
        expect(await request()).toBe(200);
        return upstream.seen.at(-1) === 'Bearer after';
      });
      if (acknowledged !== undefined) {
        const found = await lease('default/written');
        const value = decodeFields(found.body).get('value')!.toString();
        const version = Number(found.headers[LEASE_HEADERS.version]);
        expect([acknowledged.value, ...unsure]).toContain(value);
        expect(version).toBeGreaterThanOrEqual(acknowledged.version);
      }
      expect((await put('written', 'after')).json<StoredCredential>().version).toBeGreaterThan(
        acknowledged?.version ?? 0,
      );
      expect((await verifiedAll(store)).problems).toEqual([]);
    },
  );
else process.stdout.write('!! NOT RUN: a full disk under PostgreSQL, which takes root on Linux (mount of a tmpfs)\n');
