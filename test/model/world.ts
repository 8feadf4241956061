import { X509Certificate } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeFields, encodeFields } from '../../api/fields.ts';
import { type StateFiles, stateFiles } from '../../lib/stateDir.ts';
import { generateP256 } from '../../lib/x509.ts';
import { backupRequest, makeBackup } from '../../store/backup/backup.ts';
import { keyOfPassphrase, newScryptParameters } from '../../store/backup/passphrase.ts';
import { restoreBackup } from '../../store/backup/restore.ts';
import { defaultSettings } from '../../store/config.ts';
import { openCore, type Store } from '../../store/core.ts';
import type { Identity } from '../../store/identity/identities.ts';
import { ManualClock } from '../../store/testing/clock.ts';
import { frameOf, silentLog } from '../../store/testing/core.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { ensureKekFile } from '../../store/vault/kekFile.ts';
import type { PostgresServer } from '../postgres/server.ts';
import { SESSION } from '../store/storeClient.ts';

export const KEYS = ['default/a', 'default/b'] as const;
export const GENERATED = 'default/generated';
export type SessionIdentity = Identity & { kind: 'session' };
const PASSPHRASE = Buffer.from('correct horse');
const SCRYPT = { ...newScryptParameters(), n: 1024 };
const ROTATE_SECONDS = 300;

/** Stores alike to begin histories with: made once, copied for each. */
export class Template {
  readonly dir = mkdtempSync(join(tmpdir(), 'sidekey-model-'));
  readonly server: PostgresServer | undefined;
  #database: string | undefined;
  #worlds = 0;

  private constructor(server: PostgresServer | undefined) {
    this.server = server;
  }

  static async make(server?: PostgresServer): Promise<Template> {
    const template = new Template(server);
    template.#database = await server?.newDatabase();
    const world = new World(template, join(template.dir, 'template'), template.#database);
    ensureKekFile(world.files);
    await world.open();
    const { objects } = world.store;
    for (const key of KEYS) await objects.applyCredential(key, credentialRecord({ source: 'store' }), 'test');
    const generated = { bytes: 16, encoding: 'Hex' as const, rotateSeconds: ROTATE_SECONDS, overlapSeconds: 0 };
    await objects.applyCredential(GENERATED, credentialRecord({ source: 'generated', generated }), 'test');
    for (const credential of [...KEYS, GENERATED])
      await objects.applyIntegration(credential, integrationRecord({ credential }), 'test');
    await world.close();
    return template;
  }

  async world(): Promise<World> {
    this.#worlds += 1;
    const dir = join(this.dir, `world-${this.#worlds}`);
    cpSync(join(this.dir, 'template'), dir, { recursive: true });
    const world = new World(this, dir, await this.newDatabase(this.#database));
    await world.open();
    return world;
  }

  /** Undefined for SQLite. */
  async newDatabase(of?: string): Promise<string | undefined> {
    if (this.server === undefined) return undefined;
    this.#worlds += 1;
    const name = `world${this.#worlds}`;
    await this.server.query(`CREATE DATABASE ${name}${of === undefined ? '' : ` TEMPLATE ${nameOf(of)}`}`);
    return this.server.url(name);
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** The store of one history, with what can happen to it. */
export class World {
  readonly clock = new ManualClock();
  files: StateFiles;
  databaseUrl: string | undefined;
  /** Called with each store that is opened; a test of the test breaks something in it. */
  sabotage: (store: Store) => void = () => {};
  readonly #template: Template;
  #store: Store | undefined;
  #lives = 0;

  constructor(template: Template, dir: string, databaseUrl: string | undefined) {
    this.#template = template;
    this.files = stateFiles(dir);
    this.databaseUrl = databaseUrl;
  }

  get store(): Store {
    return this.#store!;
  }

  async open(): Promise<void> {
    const { clock, databaseUrl, files } = this;
    const fatal = (error: Error) => {
      throw error;
    };
    this.#store = await openCore({ files, databaseUrl, clock, log: silentLog, settings: defaultSettings, fatal });
    this.sabotage(this.#store);
  }

  async close(): Promise<void> {
    await this.#store?.close();
    this.#store = undefined;
  }

  /** What the files hold now, and nothing that was still under way: the rest of the process is gone. */
  async kill(): Promise<void> {
    if (this.databaseUrl === undefined) {
      this.#lives += 1;
      const dir = `${this.files.dir}-${this.#lives}`;
      mkdirSync(dir, { mode: 0o700 });
      cpSync(this.files.dir, dir, {
        recursive: true,
        filter: (path) => !path.endsWith('.sock') && !path.endsWith('.pid'),
      });
      const old = this.files.dir;
      await this.close();
      rmSync(old, { recursive: true, force: true });
      this.files = stateFiles(dir);
    } else {
      await this.partition();
      await this.close();
    }
    await this.open();
  }

  /** All connections to the database break. */
  async partition(): Promise<void> {
    if (this.databaseUrl === undefined) return;
    await this.#template.server!.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${nameOf(this.databaseUrl)}'`,
    );
  }

  async backUp(): Promise<string> {
    const request = backupRequest(
      encodeFields([
        ['passphrase', Buffer.from(JSON.stringify(SCRYPT))],
        ['key', await keyOfPassphrase(Buffer.from(PASSPHRASE), SCRYPT)],
      ]),
    );
    const pieces: Buffer[] = [];
    for await (const piece of makeBackup(this.store, request, 'owner')) pieces.push(Buffer.from(piece));
    this.#lives += 1;
    const path = join(this.#template.dir, `backup-${this.files.dir.split('/').at(-1)}-${this.#lives}`);
    writeFileSync(path, Buffer.concat(pieces));
    return path;
  }

  /** SQLite: in the place of what is there; PostgreSQL: into a new database. */
  async restore(path: string): Promise<void> {
    await this.close();
    this.databaseUrl = await this.#template.newDatabase();
    const { clock, databaseUrl, files } = this;
    const passphrase = async () => Buffer.from(PASSPHRASE);
    await restoreBackup({ path, files, databaseUrl, passphrase, force: true, clock, log: silentLog });
    await this.open();
  }

  async join(): Promise<SessionIdentity> {
    const { identities, joinTokens, repository, sessions } = this.store;
    const token = await repository.transaction((tx) => joinTokens.issue(tx, { kind: 'session', session: SESSION }));
    const { certificatePem } = await sessions.join(token, generateP256().publicKey, 'test');
    return identities.find(new X509Certificate(certificatePem).fingerprint256) as SessionIdentity;
  }

  /** @throws what the store refuses it with */
  async lease(identity: SessionIdentity, credential: string): Promise<{ id: string; version: number; value: string }> {
    // As a connection is asked for its identity before each request.
    const { store } = this;
    if (!store.identities.alive(identity)) throw Object.assign(new Error('ended'), { code: 'IdentityRevoked' });
    const { id, version, frame } = await store.leases.issue(identity, { credential }, 'test');
    return { id, version, value: decodeFields(frame).get('value')!.toString() };
  }

  async put(credential: string, value: string): Promise<number> {
    return (await this.store.materials.set(credential, frameOf(value), 'test')).version;
  }

  /** What is in force, read past every check. */
  async stored(credential: string): Promise<{ version: number; value: string } | undefined> {
    const { materials, repository } = this.store;
    return repository.transaction(async (tx) => {
      if ((await tx.materials.newest(credential)) === undefined) return undefined;
      const { frame, material } = await materials.openInForce(tx, credential, 'store');
      return { version: material.version, value: decodeFields(frame).get('value')!.toString() };
    });
  }

  async remove(): Promise<void> {
    await this.close();
    rmSync(this.files.dir, { recursive: true, force: true });
    if (this.databaseUrl !== undefined)
      await this.#template.server!.query(`DROP DATABASE ${nameOf(this.databaseUrl)} WITH (FORCE)`);
  }
}

function nameOf(url: string): string {
  return new URL(url).pathname.slice(1);
}
