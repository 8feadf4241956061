import { setTimeout as delay } from 'node:timers/promises';
import { Client, type QueryResult, types } from 'pg';
import { errorText } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import { storeError } from '../../errors.ts';

const CONNECT_LIMIT_MS = 5_000;
/** Longest that the client waits for an answer: whoever waits longer has lost the server. */
const ANSWER_LIMIT_MS = 6_000;
const FIRST_PAUSE_MS = 50;
const PAUSE_LIMIT_MS = 2_000;
/**
 * The server's own bounds are shorter than ours, so that it ends what we gave up; that of idle transactions frees what a stopped process holds.
 * A server whose default is not to wait for its disk does wait for us; a dead peer is noticed in seconds.
 */
const SETTINGS = `
  SET statement_timeout = '5s';
  SET lock_timeout = '4s';
  SET idle_in_transaction_session_timeout = '5s';
  SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;
  SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
`;

/** One connection to PostgreSQL that is made anew, with growing pauses, when it is asked for after a loss. */
export class Link {
  readonly #url: string;
  readonly #name: string;
  readonly #log: Logger;
  readonly #setup: (client: Client) => Promise<void>;
  #client: Client | undefined;
  #connecting: Promise<Client> | undefined;
  #pauseMs = 0;
  #closed = false;

  /** `setup` runs on each new connection; `name` is what the server's administrator sees. */
  constructor(options: { url: string; name: string; log: Logger; setup?: (client: Client) => Promise<void> }) {
    this.#url = options.url;
    this.#name = options.name;
    this.#log = options.log;
    this.#setup = options.setup ?? (async () => {});
  }

  /** The connection, made within that time if there is none. @throws StorageFailed */
  async get(withinMs: number): Promise<Client> {
    if (this.#client !== undefined) return this.#client;
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    const late = new AbortController();
    const timeout = delay(withinMs, undefined, { signal: late.signal }).then(() => {
      throw storeError('StorageFailed', 'The database cannot be reached now; retry later.');
    });
    try {
      return await Promise.race([this.#connecting, timeout]);
    } finally {
      late.abort();
      timeout.catch(() => {});
    }
  }

  /** Gives the connection up; whatever it was doing fails. */
  drop(client: Client): void {
    if (this.#client === client) this.#client = undefined;
    client.end().catch(() => {});
  }

  async close(): Promise<void> {
    this.#closed = true;
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => {});
  }

  async #connect(): Promise<Client> {
    if (this.#pauseMs > 0) await delay(this.#pauseMs * (0.5 + 0.5 * Math.random()));
    if (this.#closed) throw storeError('StorageFailed', 'The store stops.');
    const client = newClient(this.#url, this.#name);
    try {
      client.on('error', (error) => {
        if (this.#client !== client) return;
        this.#log.warn({ connection: this.#name, error: errorText(error) }, 'the connection to the database is lost');
        this.#client = undefined;
      });
      client.on('end', () => {
        if (this.#client === client) this.#client = undefined;
      });
      await client.connect();
      await prepare(client);
      await this.#setup(client);
    } catch (error) {
      client.end().catch(() => {});
      if (this.#pauseMs === 0)
        this.#log.warn({ connection: this.#name, error: errorText(error) }, 'the database cannot be reached');
      this.#pauseMs = Math.min(PAUSE_LIMIT_MS, Math.max(FIRST_PAUSE_MS, this.#pauseMs * 2));
      throw storeError('StorageFailed', 'The database cannot be reached now; retry later.', { cause: error });
    }
    if (this.#closed) {
      // Nobody else would end it.
      client.end().catch(() => {});
      throw storeError('StorageFailed', 'The store stops.');
    }
    this.#pauseMs = 0;
    this.#client = client;
    return client;
  }
}

/** TLS, password and whatever else the URL does not say come from the PG* variables. */
export function newClient(url: string, name: string, { answerLimitMs = ANSWER_LIMIT_MS } = {}): Client {
  return new Client({
    connectionString: url,
    application_name: name,
    connectionTimeoutMillis: CONNECT_LIMIT_MS,
    query_timeout: answerLimitMs,
    keepAlive: true,
    pipeline: true,
    types: { getTypeParser },
  });
}

/** Where a URL leads, without what is secret in it. */
export function placeOf(url: string): string {
  try {
    const { host, port, database } = new Client(url);
    return `${host}:${port}/${database}`;
  } catch {
    return 'an address that is no URL';
  }
}

/** bigint as a number: ours are times, versions and counts, far below 2^53. */
function getTypeParser(id: number, format?: 'text' | 'binary') {
  return id === types.builtins.INT8 ? Number : types.getTypeParser(id, format as 'text');
}

async function prepare(client: Client): Promise<void> {
  await client.query(SETTINGS);
  const { rows }: QueryResult<{ standby: boolean }> = await client.query('SELECT pg_is_in_recovery() AS standby');
  if (rows[0]?.standby) throw new Error('the server is a standby, which cannot be written');
}
