import { errorCode } from '../../../lib/errors.ts';

/** What an error of the database means for the transactions it hit. */
export type Failure =
  /** The doing of one statement alone. */
  | 'own'
  /** Another process was in the way: nothing happened, and it may work when tried again. */
  | 'conflict'
  /** The connection cannot be used any more. */
  | 'connection'
  | 'other';

/** SQLSTATEs (PostgreSQL manual, appendix A) and classes of them. */
const STATES: Readonly<Record<string, Failure>> = {
  '22': 'own', // data exceptions
  '23': 'own', // constraints
  '54': 'own', // too large
  '40001': 'conflict', // serialization_failure
  '40P01': 'conflict', // deadlock_detected
  '55P03': 'conflict', // lock_not_available
  '26000': 'conflict', // a statement that was to be prepared in a transaction that had failed
  '08': 'connection',
  '25006': 'connection', // read_only_sql_transaction: the server has become a standby
  '25P03': 'connection', // idle_in_transaction_session_timeout
  '57P': 'connection', // the server shuts down or starts
};

/** Five characters, if the error is PostgreSQL's. */
export function sqlState(error: unknown): string | undefined {
  const code = errorCode(error);
  return code !== undefined && /^[0-9A-Z]{5}$/.test(code) && 'severity' in (error as object) ? code : undefined;
}

/** What of the driver and of sockets has no SQLSTATE is about the connection. */
export function failureOf(error: unknown): Failure {
  const state = sqlState(error);
  if (state === undefined) return 'connection';
  // Two with the name of one replica: the one that comes second reads the end of the chain again.
  if (state === '23505' && (error as { constraint?: string }).constraint === 'audit_chain') return 'conflict';
  return STATES[state] ?? STATES[state.slice(0, 3)] ?? STATES[state.slice(0, 2)] ?? 'other';
}
