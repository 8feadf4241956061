import {
  type ColumnType,
  DummyDriver,
  type GeneratedAlways,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
} from 'kysely';

/** The tables as migrations.ts makes them; JSON is kept as text, byte for byte. */
interface Schema {
  meta: { name: string; value: Buffer };
  credentials: { key: string; record: string };
  integrations: { key: string; record: string };
  data_keys: { credential: string; kek_id: string; wrapped: Buffer };
  versions: { credential: string; last: number };
  materials: {
    credential: string;
    version: number;
    origin: string;
    fields: string;
    sealed: Buffer;
    written_at_ms: number;
  };
  sessions: { id: string; record: string; ended_at_ms: ColumnType<number | null, number | null | undefined, number> };
  identities: {
    serial: string;
    fingerprint: string;
    kind: string;
    session_id: string | null;
    expires_at_ms: number;
  };
  revocations: { id: string; record: string };
  leases: {
    id: string;
    session_id: string;
    credential: string;
    version: number;
    issued_at_ms: number;
    expires_at_ms: number;
    ended_at_ms: number | null;
  };
  pruned_leases: { credential: string; version: number; count: number };
  join_tokens: { digest: string; invitation: string; expires_at_ms: number };
  audit: { chain: string; seq: number; at: string; event: string; previous_hash: string; hash: string };
  changes: { id: GeneratedAlways<number>; at: ColumnType<Date, never, never>; change: string };
  changes_forgotten: { one: boolean; upto: number };
  work: { name: string; holder: string; until: Date };
}

/** Builds statements, checked against the schema; it has no connection: what to run on which is for transactions to say. */
export const build = new Kysely<Schema>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});
