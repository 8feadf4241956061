import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { frameOf, TestCore } from './testing/core.ts';
import { credentialRecord, integrationRecord, session } from './testing/records.ts';

let core: TestCore;
beforeEach(async () => {
  core = await TestCore.open();
  for (const name of ['key', 'other']) {
    await core.store.objects.applyCredential(`default/${name}`, credentialRecord(), 'test');
    const record = integrationRecord({ credential: `default/${name}` });
    await core.store.objects.applyIntegration(`default/${name}`, record, 'test');
    await core.store.materials.put(`default/${name}`, frameOf(`first of ${name}`), 'test');
  }
  await core.store.repository.transaction((tx) => tx.sessions.put(session()));
});
afterEach(() => core.remove());

async function lease(credential = 'default/key'): Promise<string> {
  const identity = {
    kind: 'session',
    session: session(),
    serial: '01',
    spiffeId: 'spiffe://sidekey.local/ns/default/sa/default',
    untilMs: Number.POSITIVE_INFINITY,
  } as const;
  const { frame } = await core.store.leases.issue(identity, { credential }, 'test');
  return frame.toString('latin1', 10);
}

const damaged = expect.objectContaining({ code: 'MaterialDamaged' });
const replace = () => core.store.materials.put('default/key', frameOf('second of key'), 'test');
const rowOf = (db: DatabaseSync, credential: string) =>
  db.prepare('SELECT * FROM materials WHERE credential = ?').get(credential)!;

test('a ciphertext in which a bit was flipped is not given out', async () => {
  expect(await lease()).toBe('first of key');
  await core.offline((db) => {
    const sealed = Buffer.from(rowOf(db, 'default/key').sealed as Uint8Array);
    sealed[20]! ^= 1;
    db.prepare("UPDATE materials SET sealed = ? WHERE credential = 'default/key'").run(sealed);
  });
  await expect(lease()).rejects.toEqual(damaged);
  expect(await lease('default/other')).toBe('first of other');
});

test('a ciphertext moved to the row of another credential is not given out, with its data key neither', async () => {
  await core.offline((db) => {
    const { sealed } = rowOf(db, 'default/key');
    db.prepare("UPDATE materials SET sealed = ? WHERE credential = 'default/other'").run(sealed!);
  });
  await expect(lease('default/other')).rejects.toEqual(damaged);
  await core.offline((db) =>
    db.exec(`UPDATE data_keys SET wrapped = (SELECT wrapped FROM data_keys WHERE credential = 'default/key')
      WHERE credential = 'default/other'`),
  );
  await expect(lease('default/other')).rejects.toEqual(damaged);
});

test('a ciphertext rolled back to an older version is not given out, with its version number neither', async () => {
  const old = await core.offline((db) => rowOf(db, 'default/key'));
  await replace();
  expect(await lease()).toBe('second of key');
  await core.offline((db) =>
    db.prepare("UPDATE materials SET sealed = ? WHERE credential = 'default/key'").run(old.sealed!),
  );
  await expect(lease()).rejects.toEqual(damaged);
  await core.offline((db) => db.exec("UPDATE materials SET version = 1 WHERE credential = 'default/key'"));
  await expect(lease()).rejects.toEqual(damaged);
});

test('setting the material again cures it', async () => {
  await core.offline((db) =>
    db.exec('UPDATE data_keys SET wrapped = zeroblob(61); UPDATE materials SET sealed = zeroblob(61)'),
  );
  await expect(lease()).rejects.toEqual(damaged);
  expect(await replace()).toMatchObject({ version: 2 });
  expect(await lease()).toBe('second of key');
});

test.each(['ca key', 'ca state', 'audit key'])('the %s of another store in the database is refused', async (name) => {
  const read = (db: DatabaseSync) => db.prepare('SELECT value FROM meta WHERE name = ?').get(name)!.value;
  const foreign = await TestCore.open();
  const value = await foreign.offline(read);
  await foreign.remove();
  const replaced = core.offline((db) => db.prepare('UPDATE meta SET value = ? WHERE name = ?').run(value!, name));
  await expect(replaced).rejects.toEqual(expect.objectContaining({ code: 'DatabaseDamaged' }));
});
