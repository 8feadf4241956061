import type { Change, ObjectTable } from '../../repository.ts';
import { objectOf, recordOf } from '../../rows.ts';
import { build } from '../schema.ts';
import type { PostgresStatements } from '../statements.ts';

/** `change` says what a write has changed. */
export function objectTable<R>(
  db: PostgresStatements,
  table: 'credentials' | 'integrations',
  change: (key: string, record: R | undefined) => Change,
): ObjectTable<R> {
  return {
    async get(key) {
      const row = await db.get(build.selectFrom(table).select('record').where('key', '=', key));
      return row && recordOf(row);
    },
    async put(key, value) {
      const record = JSON.stringify(value);
      const insert = build.insertInto(table).values({ key, record });
      db.write(insert.onConflict((taken) => taken.column('key').doUpdateSet({ record })));
      db.changes.push(change(key, value));
    },
    async delete(key) {
      db.write(build.deleteFrom(table).where('key', '=', key));
      db.changes.push(change(key, undefined));
    },
    async page(afterKey, limit) {
      const after = build.selectFrom(table).select(['key', 'record']).where('key', '>', afterKey);
      return (await db.all(after.orderBy('key').limit(limit))).map(objectOf);
    },
  };
}
