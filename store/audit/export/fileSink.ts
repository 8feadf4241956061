import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import type { AuditEntry } from '../../../api/admin.ts';
import { type AuditFormat, auditLines } from '../../../lib/audit/format.ts';
import { errorCode } from '../../../lib/errors.ts';
import { VERSION } from '../../../lib/version.ts';
import type { FileTarget } from './config.ts';
import type { AuditSink } from './sink.ts';

/** Appends lines to a file, on disk before they count as sent; a full file becomes `PATH.1`, that one `PATH.2`, and so on. */
export class FileSink implements AuditSink {
  readonly #target: FileTarget;
  readonly #format: AuditFormat;
  #file: FileHandle | undefined;
  #bytes = 0;

  constructor(target: FileTarget, format: AuditFormat) {
    this.#target = target;
    this.#format = format;
  }

  async send(entries: readonly AuditEntry[]): Promise<void> {
    try {
      for (const entry of entries)
        await this.#append(
          auditLines(entry, this.#format, VERSION)
            .map((line) => `${line}\n`)
            .join(''),
        );
      await this.#file?.datasync();
    } catch (error) {
      await this.#end().catch(() => {});
      throw error;
    }
  }

  close(): void {
    void this.#end().catch(() => {});
  }

  async #append(text: string): Promise<void> {
    const bytes = Buffer.from(text);
    if (this.#file === undefined) await this.#open();
    if (this.#bytes > 0 && this.#bytes + bytes.length > this.#target.maxBytes) {
      await this.#rotate();
      await this.#open();
    }
    for (let at = 0; at < bytes.length; ) at += (await this.#file!.write(bytes, at)).bytesWritten;
    this.#bytes += bytes.length;
  }

  async #open(): Promise<void> {
    const { path } = this.#target;
    const cut = endsInALine(path) ? '' : '\n';
    this.#file = await open(path, 'a', 0o600);
    // What a crash cut off stands as a line of its own; the entry comes again.
    if (cut !== '') await this.#file.write(cut);
    this.#bytes = (await this.#file.stat()).size;
  }

  async #rotate(): Promise<void> {
    const { keep, path } = this.#target;
    await this.#file?.datasync();
    await this.#end();
    await rm(`${path}.${keep}`, { force: true });
    for (let n = keep - 1; n >= 0; n -= 1) {
      await rename(n === 0 ? path : `${path}.${n}`, `${path}.${n + 1}`).catch((error: unknown) => {
        if (errorCode(error) !== 'ENOENT') throw error;
      });
    }
  }

  async #end(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }
}

function endsInALine(path: string): boolean {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch {
    return true; // There is none yet; opening it to write says what else is wrong.
  }
  try {
    const { size } = fstatSync(descriptor);
    const last = Buffer.alloc(1);
    return size === 0 || (readSync(descriptor, last, 0, 1, size - 1) === 1 && last[0] === 0x0a);
  } finally {
    closeSync(descriptor);
  }
}
