import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { decodeFields } from '../../api/fields.ts';
import type { StoredCredential } from '../../api/protocol.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { admin, json, material, SESSION, StoreClient, verified } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

const DISK_BYTES = 2 * 1024 * 1024;
// A disk of its own takes root; store/persist/sqlite/repository.test.ts tests the same with a bounded file.
const canMount = process.platform === 'linux' && process.getuid?.() === 0;

/** Takes all the space there is. */
function fill(path: string): void {
  for (let bytes = DISK_BYTES; bytes >= 1; bytes = Math.floor(bytes / 2)) {
    try {
      writeFileSync(path, Buffer.alloc(bytes), { flag: 'a' });
    } catch {
      // A smaller piece may still fit.
    }
  }
}

if (canMount)
  test('a full disk: nothing is given out or lost, the store lives on, and works when there is space', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'sidekey-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', dir]);
    let store: StoreProcess | undefined;
    try {
      store = await StoreProcess.start(join(dir, 'state'));
      const operator = await StoreClient.join(store, { kind: 'operator' });
      const sidecar = await StoreClient.join(store, { kind: 'session', session: SESSION });
      await operator.call('PUT', '/v1/credentials/default/key', json(credentialRecord()));
      await operator.call('PUT', '/v1/integrations/default/example', json(integrationRecord()));
      const put = (value: string) => operator.call('PUT', '/v1/credentials/default/key/material', material({ value }));
      const lease = () => sidecar.call('POST', '/v1/leases', json({ credential: 'default/key' }));
      expect((await put('before')).status).toBe(200);

      fill(join(dir, 'filler'));
      let kept = 'before';
      for (let n = 0; n < 200; n += 1) {
        const answer = await put(`value ${n}`);
        if (answer.status !== 200) {
          expect([answer.status, answer.json<{ code: string }>().code]).toEqual([503, 'StorageFailed']);
          break;
        }
        kept = `value ${n}`;
      }
      const refused = await lease();
      expect([refused.status, refused.json<{ code: string }>().code]).toEqual([503, 'StorageFailed']);
      expect((await admin(store, 'GET', '/v1/admin/sessions')).status).toBe(200);

      rmSync(join(dir, 'filler'));
      const leased = await lease();
      expect(decodeFields(leased.body).get('value')?.toString()).toBe(kept);
      expect((await put('after')).json<StoredCredential>().version).toBeGreaterThan(1);
      await store.kill();
      store = await StoreProcess.start(store.stateDir);
      expect((await verified(store)).problems).toEqual([]);
      const again = new StoreClient(store, sidecar.answer, sidecar.tls);
      const last = await again.call('POST', '/v1/leases', json({ credential: 'default/key' }));
      expect(decodeFields(last.body).get('value')?.toString()).toBe('after');
      for (const client of [operator, sidecar, again]) client.close();
    } finally {
      await store?.stop();
      execFileSync('umount', [dir]);
      rmSync(dir, { recursive: true, force: true });
    }
  });
else process.stdout.write('!! NOT RUN: a full disk under a store, which takes root on Linux (mount of a tmpfs)\n');
