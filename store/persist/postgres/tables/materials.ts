import type { Transaction } from '../../repository.ts';
import { materialHead, versionGoesBack, wrappedKey } from '../../rows.ts';
import { build } from '../schema.ts';
import type { PostgresStatements } from '../statements.ts';

export function dataKeyTable(db: PostgresStatements): Transaction['dataKeys'] {
  return {
    async get(credential) {
      const row = await db.get(build.selectFrom('data_keys').selectAll().where('credential', '=', credential));
      return row && wrappedKey(row);
    },
    async put(credential, { kekId, wrapped }) {
      const key = { kek_id: kekId, wrapped };
      const insert = build.insertInto('data_keys').values({ credential, ...key });
      db.write(insert.onConflict((taken) => taken.column('credential').doUpdateSet(key)));
    },
    async page(afterCredential, limit) {
      const after = build.selectFrom('data_keys').selectAll().where('credential', '>', afterCredential);
      const rows = await db.all(after.orderBy('credential').limit(limit));
      return rows.map((row) => ({ credential: row.credential, key: wrappedKey(row) }));
    },
  };
}

export function materialTable(db: PostgresStatements): Transaction['materials'] {
  return {
    async newest(credential) {
      const versions = build.selectFrom('materials').selectAll().where('credential', '=', credential);
      const row = await db.get(versions.orderBy('version', 'desc').limit(1));
      return row && { ...materialHead(row), sealed: row.sealed };
    },
    async lastVersion(credential) {
      const row = await db.get(build.selectFrom('versions').select('last').where('credential', '=', credential));
      return row?.last ?? 0;
    },
    async put({ sealed, ...head }) {
      const { credential, version, origin, fields, writtenAtMs } = head;
      const row = { credential, version, origin, fields: JSON.stringify(fields), sealed, written_at_ms: writtenAtMs };
      db.write(build.insertInto('materials').values(row));
      const last = build.insertInto('versions').values({ credential, last: version });
      const raised = last.onConflict((taken) =>
        taken.column('credential').doUpdateSet({ last: version }).where('versions.last', '<', version),
      );
      if ((await db.get(raised.returning('last'))) === undefined) throw versionGoesBack(head);
      db.changes.push({ kind: 'material', key: credential, head });
    },
    async deleteBefore(credential, version) {
      db.write(build.deleteFrom('materials').where('credential', '=', credential).where('version', '<', version));
    },
    async delete(credential) {
      db.write(build.deleteFrom('materials').where('credential', '=', credential));
      db.write(build.deleteFrom('data_keys').where('credential', '=', credential));
      db.changes.push({ kind: 'material', key: credential, head: undefined });
    },
  };
}
