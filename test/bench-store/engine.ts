import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'rolldown';
import { encodeFields } from '../../api/fields.ts';
import { systemClock } from '../../lib/clock.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { defaultSettings } from '../../store/config.ts';
import { openCore, type Store } from '../../store/core.ts';
import { silentLog } from '../../store/testing/core.ts';
import { ensureKekFile } from '../../store/vault/kekFile.ts';
import { StoreProcess } from '../store/storeProcess.ts';

const BUNDLE = join(import.meta.dirname, '../../.cache/bench-store/store.mjs');

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

  /** As the image runs it: one file. */
  process(port = 0): Promise<StoreProcess> {
    const databaseUrl = this.#databaseUrl;
    const options = { port, main: BUNDLE, ...(databaseUrl !== undefined && { databaseUrl }) };
    return StoreProcess.start(this.stateDir, options);
  }

  remove(): void {
    rmSync(this.stateDir, { recursive: true, force: true });
  }
}

/** Makes the file that a store is started from. */
export async function bundleStore(): Promise<void> {
  const input = join(import.meta.dirname, '../../store/main.ts');
  await build({
    input,
    platform: 'node',
    logLevel: 'silent',
    output: { file: BUNDLE, format: 'esm', codeSplitting: false },
  });
}

/** A material frame, for the store to overwrite. */
export function frame(text: string): Buffer {
  return encodeFields([['value', Buffer.from(text)]]);
}
