import { sql } from 'kysely';
import type { Client } from 'pg';
import type { Transaction } from '../repository.ts';
import { prune } from './prune.ts';
import { PostgresStatements } from './statements.ts';
import { identityTable, joinTokenTable, revocationTable, sessionTable } from './tables/access.ts';
import { auditTable, type ChainEnd, type OwnChain, writeHead } from './tables/audit.ts';
import { leaseTable } from './tables/leases.ts';
import { dataKeyTable, materialTable } from './tables/materials.ts';
import { metaTable } from './tables/meta.ts';
import { objectTable } from './tables/objects.ts';

/** What a transaction gathers beside what it writes; a unit of it that fails is forgotten by going back to a mark. */
interface Mark {
  changes: number;
  own: OwnChain;
}

/** The tables for one transaction over one connection, and what it gathers. */
export class PostgresTransaction {
  readonly statements: PostgresStatements;
  readonly tables: Transaction;
  readonly #own: OwnChain;

  constructor({ client, chain, end }: { client: Client; chain: string; end: ChainEnd | undefined }) {
    const db = new PostgresStatements(client);
    const meta = metaTable(db);
    this.statements = db;
    this.#own = { name: chain, end, head: undefined };
    this.tables = {
      meta,
      credentials: objectTable(db, 'credentials', (key, record) => ({ kind: 'credential', key, record })),
      integrations: objectTable(db, 'integrations', (key, record) => ({ kind: 'integration', key, record })),
      dataKeys: dataKeyTable(db),
      materials: materialTable(db),
      sessions: sessionTable(db),
      identities: identityTable(db),
      revocations: revocationTable(db),
      leases: leaseTable(db),
      joinTokens: joinTokenTable(db),
      audit: auditTable(db, meta, this.#own),
      prune: async (beforeMs) => prune(db, beforeMs),
    };
  }

  /** The end of the own chain, as far as it is known. */
  get end(): ChainEnd | undefined {
    return this.#own.end;
  }

  mark(): Mark {
    return { changes: this.statements.changes.length, own: { ...this.#own } };
  }

  backTo({ changes, own }: Mark): void {
    this.statements.changes.length = changes;
    Object.assign(this.#own, own);
  }

  /** Names the transaction, so that it can be asked later what became of it. */
  async id(): Promise<string> {
    return String((await this.statements.get(sql<{ id: string }>`SELECT pg_current_xact_id()::text AS id`))?.id);
  }

  /** Sends what is written once for all units. */
  finish(): void {
    const { head, name } = this.#own;
    if (head !== undefined) writeHead(this.statements, name, head);
  }
}
