import { newClient } from './link.ts';

/** Who is in a database. */
export interface Occupants {
  /** Whether it has our tables. */
  isStore: boolean;
  /** Names of our processes that are connected to it now. */
  processes: string[];
}

/** Looks into a database without changing it. @throws what the client does */
export async function occupantsOf(url: string): Promise<Occupants> {
  const client = newClient(url, 'sidekey');
  client.on('error', () => {}); // What was under way says so too.
  try {
    await client.connect();
    const tables = await client.query("SELECT to_regclass('schema_versions') IS NOT NULL AS there");
    const connected = await client.query(
      `SELECT DISTINCT application_name AS name FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'sidekey %' ORDER BY 1`,
    );
    return { isStore: tables.rows[0].there, processes: connected.rows.map(({ name }) => String(name)) };
  } finally {
    client.end().catch(() => {});
  }
}
