import { sql } from 'kysely';
import type { Transaction } from '../../repository.ts';
import { build } from '../schema.ts';
import type { PostgresStatements } from '../statements.ts';

export function metaTable(db: PostgresStatements): Transaction['meta'] {
  return {
    get: async (name) => (await db.get(build.selectFrom('meta').select('value').where('name', '=', name)))?.value,
    async set(name, value) {
      writeMeta(db, name, value);
      db.changes.push({ kind: 'meta', name });
    },
    async delete(name) {
      db.write(build.deleteFrom('meta').where('name', '=', name));
      db.changes.push({ kind: 'meta', name });
    },
    async names(prefix) {
      const named = build.selectFrom('meta').select('name').orderBy('name');
      return (await db.all(named.where(sql<boolean>`starts_with(name, ${prefix})`))).map(({ name }) => name);
    },
  };
}

/** Counts as no change of meta. */
export function writeMeta(db: PostgresStatements, name: string, value: Buffer): void {
  const insert = build.insertInto('meta').values({ name, value });
  db.write(insert.onConflict((taken) => taken.column('name').doUpdateSet({ value })));
}
