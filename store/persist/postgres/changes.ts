import type { Client, QueryResult } from 'pg';
import type { Change } from '../repository.ts';

/** Where whoever waits for a change is woken up. */
export const CHANNEL = 'sidekey_changes';
/** Key of the advisory lock under which changes are numbered: held to the end of the commit, so that numbers are in the order of commits. */
const NUMBERING_LOCK = 0x51de_0002;
const PAGE = 1_000;

export type LoggedChange = Exclude<Change, { kind: 'audit' }>;

export interface NumberedChange {
  id: number;
  change: LoggedChange;
}

/** Puts changes into the log and commits. @throws what the database throws */
export async function commitWith(client: Client, changes: readonly LoggedChange[]): Promise<NumberedChange[]> {
  if (changes.length === 0) {
    await committed(client.query('COMMIT'));
    return [];
  }
  // Sent together: what holds the lock waits for nobody but the disk.
  const [, inserted] = await all([
    client.query('SELECT pg_advisory_xact_lock($1)', [NUMBERING_LOCK]),
    client.query(
      `WITH added AS (
         INSERT INTO changes (change) SELECT change FROM unnest($1::text[]) WITH ORDINALITY AS t (change, n) ORDER BY n RETURNING id
       ) SELECT min(id) AS first, pg_notify('${CHANNEL}', max(id)::text) FROM added`,
      [changes.map((change) => JSON.stringify(change))],
    ),
    committed(client.query('COMMIT')),
  ]);
  const first = Number(inserted!.rows[0].first);
  return changes.map((change, index) => ({ id: first + index, change }));
}

/**
 * Changes after `cursor`, oldest first, at most a page of them.
 *
 * @returns undefined if some of them are forgotten already.
 */
export async function changesAfter(client: Client, cursor: number): Promise<NumberedChange[] | undefined> {
  const [page, forgotten] = await all([
    client.query({
      name: 'sidekey_changes',
      text: `SELECT id, change FROM changes WHERE id > $1 ORDER BY id LIMIT ${PAGE}`,
      values: [cursor],
    }),
    // After the other: what was there to read then is not forgotten if it is not now.
    client.query({ name: 'sidekey_forgotten', text: 'SELECT upto FROM changes_forgotten' }),
  ]);
  if (Number(forgotten!.rows[0].upto) > cursor) return undefined;
  return page!.rows.map((row) => ({ id: Number(row.id), change: JSON.parse(row.change) }));
}

export function isFullPage(page: readonly NumberedChange[]): boolean {
  return page.length === PAGE;
}

/** A transaction in which a statement failed ends with ROLLBACK when it is told to COMMIT. */
async function committed(commit: Promise<QueryResult>): Promise<QueryResult> {
  const result = await commit;
  if (result.command !== 'COMMIT') throw new Error(`the transaction ended with ${result.command}`);
  return result;
}

/** All results, or the error of the first that failed once all are done. */
async function all(queries: Promise<QueryResult>[]): Promise<QueryResult[]> {
  const results = await Promise.allSettled(queries);
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}
