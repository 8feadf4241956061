import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeFields } from '../../api/fields.ts';
import { systemClock } from '../../lib/clock.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { defaultSettings } from '../../store/config.ts';
import { openCore, type Store } from '../../store/core.ts';
import { silentLog } from '../../store/testing/core.ts';
import { ensureKekFile } from '../../store/vault/kekFile.ts';
import { StoreProcess } from '../store/storeProcess.ts';

/** One database under one engine, to be opened in this process or served by a store of its own. */
export class BenchStore {
  readonly stateDir = mkdtempSync(join(tmpdir(), 'sidekey-bench-store-'));
  readonly #databaseUrl: string | undefined;

  constructor(databaseUrl: string | undefined) {
    this.#databaseUrl = databaseUrl;
  }

  /** Without listeners, in this process; closed again when `work` is done. */
  async within<T>(work: (store: Store) => Promise<T>): Promise<T> {
    const files = stateFiles(this.stateDir);
    ensureKekFile(files);
    const store = await openCore({
      files,
      databaseUrl: this.#databaseUrl,
      clock: systemClock,
      log: silentLog,
      settings: defaultSettings,
      fatal: (error) => {
        throw error;
      },
    });
    try {
      return await work(store);
    } finally {
      await store.close();
    }
  }

  process(port = 0): Promise<StoreProcess> {
    const databaseUrl = this.#databaseUrl;
    return StoreProcess.start(this.stateDir, { port, ...(databaseUrl !== undefined && { databaseUrl }) });
  }

  remove(): void {
    rmSync(this.stateDir, { recursive: true, force: true });
  }
}

/** A material frame, for the store to overwrite. */
export function frame(text: string): Buffer {
  return encodeFields([['value', Buffer.from(text)]]);
}
