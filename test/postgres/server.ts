import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';

const INSTALLED = '/usr/lib/postgresql';
const USER = 'sidekey';
const START_LIMIT_MS = 20_000;
const STOP_SIGNALS = { fast: 'SIGINT', immediate: 'SIGQUIT', kill: 'SIGKILL' } as const;

/** What its parts are owned by when the tests run as root, as whom PostgreSQL does not start: nobody. */
const UNPRIVILEGED = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

/** A real PostgreSQL server of its own, in a temporary directory, with a password, at a free port; it waits for its disk as any does. */
export class PostgresServer {
  readonly port: number;
  readonly password: string;
  readonly #dir: string;
  readonly #logDir: string | undefined;
  readonly #settings: readonly string[];
  #child: ChildProcess | undefined;
  #databases = 0;

  private constructor(options: {
    port: number;
    password: string;
    dir: string;
    logDir?: string | undefined;
    settings: readonly string[];
  }) {
    this.#logDir = options.logDir;
    this.port = options.port;
    this.password = options.password;
    this.#dir = options.dir;
    this.#settings = options.settings;
  }

  /** `settings` as `name=value`; with `tls` (key and certificate in PEM) it takes TLS too; its directory and `log` (WAL) are under others if they are named. */
  static async start(
    options: { settings?: string[]; tls?: { key: string; cert: string }; under?: string; logUnder?: string } = {},
  ): Promise<PostgresServer> {
    const dir = ownedDirectory(options.under);
    const logDir = options.logUnder === undefined ? undefined : ownedDirectory(options.logUnder);
    const password = randomBytes(12).toString('hex');
    const files = { password: join(dir, 'password'), key: join(dir, 'key.pem'), cert: join(dir, 'cert.pem') };
    const settings = [...(options.settings ?? [])];
    const own = (path: string, text: string) => {
      writeFileSync(path, text, { mode: 0o600 });
      if (UNPRIVILEGED.uid !== undefined) chownSync(path, UNPRIVILEGED.uid, UNPRIVILEGED.gid);
    };
    own(files.password, password);
    if (options.tls !== undefined) {
      own(files.key, options.tls.key);
      own(files.cert, options.tls.cert);
      settings.push('ssl=on', `ssl_key_file=${files.key}`, `ssl_cert_file=${files.cert}`);
    }
    const initdb = [
      '-D',
      join(dir, 'data'),
      '-U',
      USER,
      '-A',
      'scram-sha-256',
      '--pwfile',
      files.password,
      '-E',
      'UTF8',
    ];
    if (options.under !== undefined) initdb.push('--wal-segsize', '1');
    if (logDir !== undefined) initdb.push('--waldir', join(logDir, 'wal'));
    execFileSync(postgresBinary('initdb'), [...initdb, '--locale', 'C', '--no-sync'], {
      ...UNPRIVILEGED,
      cwd: dir,
      env: {},
      stdio: 'pipe',
    });
    const server = new PostgresServer({ port: await freePort(), password, dir, logDir, settings });
    await server.resume();
    return server;
  }

  /** A synchronous standby of this server, which from now on waits for it with each commit; `through` is where it replicates from. */
  async standby(through = this.port): Promise<PostgresServer> {
    const dir = ownedDirectory();
    const conninfo = `host=127.0.0.1 port=${through} user=${USER} password=${this.password}`;
    // The line that it goes through may be of this process.
    await promisify(execFile)(
      postgresBinary('pg_basebackup'),
      ['-D', join(dir, 'data'), '-d', conninfo, '-R', '--checkpoint=fast', '--no-sync'],
      { ...UNPRIVILEGED, cwd: dir, env: {} },
    );
    const standby = new PostgresServer({
      port: await freePort(),
      password: this.password,
      dir,
      settings: this.#settings,
    });
    await standby.resume();
    await this.query("ALTER SYSTEM SET synchronous_standby_names = '*'");
    await this.query('SELECT pg_reload_conf()');
    const isSynchronous = async () =>
      (await this.query("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")).length === 1;
    for (const untilMs = performance.now() + START_LIMIT_MS; !(await isSynchronous()); await delay(50))
      if (performance.now() > untilMs) throw new Error('the standby does not follow');
    return standby;
  }

  /** Makes a standby the server that is written. */
  async promote(): Promise<void> {
    await this.query('SELECT pg_promote(true, 30)');
  }

  /** Whether it has ended by itself. */
  get isGone(): boolean {
    return this.#child!.exitCode !== null || this.#child!.signalCode !== null;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  url(database = 'postgres'): string {
    return `postgres://${USER}:${this.password}@127.0.0.1:${this.port}/${database}`;
  }

  /** The URL of a new, empty database. */
  async newDatabase(): Promise<string> {
    this.#databases += 1;
    const name = `test${this.#databases}`;
    await this.query(`CREATE DATABASE ${name}`);
    return this.url(name);
  }

  /** As its administrator, or in the database of that URL. */
  async query(sql: string, url = this.url()): Promise<Record<string, unknown>[]> {
    const client = new Client(url);
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  }

  /** Starts it again after `stop`, at the same port, with what it has on disk. */
  async resume(): Promise<void> {
    const settings = [
      'listen_addresses=127.0.0.1',
      `unix_socket_directories=${this.#dir}`,
      'shared_buffers=64MB',
      'max_connections=100',
      ...this.#settings,
    ];
    const args = ['-D', join(this.#dir, 'data'), '-p', String(this.port), ...settings.flatMap((one) => ['-c', one])];
    const child = spawn(postgresBinary('postgres'), args, {
      ...UNPRIVILEGED,
      cwd: this.#dir,
      env: {},
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    let log = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-10_000);
    });
    const untilMs = performance.now() + START_LIMIT_MS;
    for (;;) {
      try {
        await this.query('SELECT 1');
        return;
      } catch (error) {
        if (child.exitCode !== null || performance.now() > untilMs)
          throw new Error(`PostgreSQL did not start: ${log}`, { cause: error });
        await delay(50);
      }
    }
  }

  /** `immediate` ends it as a crash would: it has to recover when it starts again; `kill` leaves it no moment for anything. */
  async stop(how: keyof typeof STOP_SIGNALS = 'fast'): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill(STOP_SIGNALS[how]);
    await exit;
  }

  async remove(): Promise<void> {
    await this.stop('immediate');
    for (const dir of [this.#dir, this.#logDir]) if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
  }
}

/** Where a program of PostgreSQL is, of the newest version that is installed. */
export function postgresBinary(name: string): string {
  const versions = existsSync(INSTALLED) ? readdirSync(INSTALLED).sort((a, b) => Number(b) - Number(a)) : [];
  for (const version of versions) {
    const path = join(INSTALLED, version, 'bin', name);
    if (existsSync(path)) return path;
  }
  throw new Error('PostgreSQL is not installed. Run: apt-get install --no-install-recommends postgresql');
}

/** A new directory for whom PostgreSQL runs as. */
function ownedDirectory(under = tmpdir()): string {
  const dir = mkdtempSync(join(under, 'sidekey-postgres-'));
  chmodSync(dir, 0o700);
  if (UNPRIVILEGED.uid !== undefined) chownSync(dir, UNPRIVILEGED.uid, UNPRIVILEGED.gid);
  return dir;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
