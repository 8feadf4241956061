import type { CompiledQuery, QueryExecutorProvider } from 'kysely';
import type { Client, QueryResult } from 'pg';
import type { Change } from '../repository.ts';
import { build } from './schema.ts';

/** A statement of the builder, or one in words where it has none. */
interface Query<T> {
  compile(on: QueryExecutorProvider): CompiledQuery<T>;
}

/** Names of prepared statements; the same ones on each connection. */
const names = new Map<string, string>();

/** The statements of one transaction. What is written is sent without waiting for its answer: `settle` tells what became of it. */
export class PostgresStatements {
  /** What they change. */
  readonly changes: Change[] = [];
  readonly #client: Client;
  #sent: Promise<unknown>[] = [];
  /** What the database said first against a statement since the last time that it was asked. */
  #failure: unknown;

  constructor(client: Client) {
    this.#client = client;
  }

  /** Sends one of those that bound transactions and units. */
  send(sql: string): void {
    this.#later(this.#client.query(sql));
  }

  /** Waits for what was sent; the first error of the database since the last time, if there was one. */
  async settle(): Promise<unknown> {
    const sent = this.#sent;
    this.#sent = [];
    await Promise.all(sent);
    const failure = this.#failure;
    this.#failure = undefined;
    return failure;
  }

  async get<T>(query: Query<T>): Promise<T | undefined> {
    return (await this.all(query))[0];
  }

  async all<T>(query: Query<T>): Promise<T[]> {
    try {
      return (await this.#query(query)).rows as T[];
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
  }

  write(query: Query<unknown>): void {
    this.#later(this.#query(query));
  }

  /** Prepared once on each connection. */
  #query(query: Query<unknown>): Promise<QueryResult> {
    const { sql: text, parameters } = query.compile(build);
    let name = names.get(text);
    if (name === undefined) {
      name = `sidekey${names.size}`;
      names.set(text, name);
    }
    return this.#client.query({ name, text, values: [...parameters] });
  }

  #later(done: Promise<unknown>): void {
    this.#sent.push(
      done.catch((error: unknown) => {
        this.#failure ??= error;
      }),
    );
  }
}
