import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { KekSpec } from '../../api/bootstrap.ts';
import type { Logger } from '../../lib/log.ts';
import { type StateFiles, stateFiles } from '../../lib/stateDir.ts';
import { defaultSettings, type Settings } from '../config.ts';
import { openCore, type Store } from '../core.ts';
import { ensureKekFile } from '../vault/kekFile.ts';
import { ManualClock } from './clock.ts';

const nothing = () => {};
export const silentLog: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** A store without listeners, on a state directory of its own, with a clock that tests move. */
export class TestCore {
  readonly clock = new ManualClock();
  readonly files: StateFiles;
  #store: Store | undefined;
  readonly #dir: string;
  readonly #settings: Settings;

  /** Where the next opening finds the keys; the key file of the state directory unless a test says otherwise. */
  kek: KekSpec | undefined;

  private constructor(settings: Partial<Settings>) {
    this.#dir = mkdtempSync(join(tmpdir(), 'sidekey-core-'));
    this.files = stateFiles(join(this.#dir, 'state'));
    this.#settings = { ...defaultSettings, ...settings };
  }

  static async open(settings: Partial<Settings> = {}, kek?: KekSpec): Promise<TestCore> {
    const core = new TestCore(settings);
    core.kek = kek;
    ensureKekFile(core.files);
    await core.#open();
    return core;
  }

  /** As a restart of the process would. */
  async reopen(): Promise<void> {
    await this.#close();
    await this.#open();
  }

  /** What somebody with the database file can do while no store runs. */
  async offline<T>(work: (db: DatabaseSync) => T): Promise<T> {
    await this.#close();
    const db = new DatabaseSync(this.files.database);
    try {
      return work(db);
    } finally {
      db.close();
      await this.#open();
    }
  }

  /** What its owner can do while no store runs. */
  async stopped<T>(work: () => Promise<T>): Promise<T> {
    await this.#close();
    try {
      return await work();
    } finally {
      await this.#open();
    }
  }

  async remove(): Promise<void> {
    await this.#close();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  get store(): Store {
    if (this.#store === undefined) throw new Error('the store is not open');
    return this.#store;
  }

  async #close(): Promise<void> {
    await this.#store?.close();
    this.#store = undefined;
  }

  async #open(): Promise<void> {
    const fatal = (error: Error) => {
      throw error;
    };
    this.#store = await openCore({
      files: this.files,
      kek: this.kek,
      clock: this.clock,
      log: silentLog,
      settings: this.#settings,
      fatal,
    });
  }
}

/** A frame with the field `value`, in a Buffer that the store may overwrite. */
export function frameOf(value: string): Buffer {
  const bytes = Buffer.from(value);
  const frame = Buffer.alloc(10 + bytes.length);
  frame.write('\x05value', 'latin1');
  frame.writeUInt32BE(bytes.length, 6);
  bytes.copy(frame, 10);
  return frame;
}
