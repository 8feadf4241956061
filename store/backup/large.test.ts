import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openDatabase } from '../persist/sqlite/database.ts';
import { SqliteRepository } from '../persist/sqlite/repository.ts';
import { TestCore } from '../testing/core.ts';
import { credentialRecord } from '../testing/records.ts';
import { makeBackup } from './backup.ts';

const CREDENTIALS = 100_000;
const MIB = 2 ** 20;

test('a backup of 100,000 credentials takes no more memory than one of few', async () => {
  const core = await TestCore.open();
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-large-'));
  const path = join(dir, 'store.db');
  const repository = new SqliteRepository({ db: openDatabase(path), path, fatal: () => {} });
  try {
    for (let from = 0; from < CREDENTIALS; from += 1000) {
      await repository.transaction(async (tx) => {
        for (let n = from; n < from + 1000; n += 1) {
          const credential = `default/key-${n}`;
          await tx.credentials.put(credential, credentialRecord());
          await tx.dataKeys.put(credential, { kekId: 'kek', wrapped: Buffer.alloc(61, n) });
          const head = { credential, version: 1, origin: 'secret' as const, fields: ['value'], writtenAtMs: 0 };
          await tx.materials.put({ ...head, sealed: Buffer.alloc(3000, n) });
        }
      });
    }
    const before = process.memoryUsage().rss;
    let [bytes, most] = [0, 0];
    for await (const piece of makeBackup({ ...core.store, repository }, undefined, 'test')) {
      bytes += piece.length;
      most = Math.max(most, process.memoryUsage.rss() - before);
    }
    console.log(`${Math.round(bytes / MIB)} MiB of backup in ${Math.round(most / MIB)} MiB of memory`);
    expect(bytes).toBeGreaterThan(300 * MIB);
    expect(most).toBeLessThan(128 * MIB);
  } finally {
    await repository.close();
    await core.remove();
    rmSync(dir, { recursive: true, force: true });
  }
}, 120_000);
