import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { storeError } from '../errors.ts';
import { type BackupHeader, decodeHeader, encodeHeader, HEADER_BYTES, payloadKey, requireKey } from './header.ts';
import { type BackupCounts, type BackupManifest, type BackupRow, decodeRows } from './rows.ts';
import { openChunks } from './sealedChunks.ts';

/** A backup whose every byte was read and found to be as it was made. */
export class BackupFile {
  readonly header: BackupHeader;
  readonly manifest: BackupManifest;
  readonly counts: Partial<BackupCounts>;
  readonly #path: string;
  readonly #start: number;
  readonly #key: Buffer;

  private constructor(options: {
    path: string;
    start: number;
    key: Buffer;
    header: BackupHeader;
    manifest: BackupManifest;
    counts: Partial<BackupCounts>;
  }) {
    this.#path = options.path;
    this.#start = options.start;
    this.#key = options.key;
    this.header = options.header;
    this.manifest = options.manifest;
    this.counts = options.counts;
  }

  /** Reads the whole file. `keyOf` gives the key that the header asks for. @throws BackupForeign, BackupWrongKey, BackupDamaged */
  static async verify(path: string, keyOf: (header: BackupHeader) => Promise<Buffer>): Promise<BackupFile> {
    const { header, bytes } = decodeHeader(await startOf(path));
    const master = await keyOf(header);
    try {
      requireKey(header, master);
      const key = payloadKey(master, encodeHeader(header), header.nonce);
      const counts: Partial<BackupCounts> = {};
      let manifest: BackupManifest | undefined;
      let end: Partial<BackupCounts> | undefined;
      for await (const row of rowsOf(path, bytes, key)) {
        if (row.type === 'manifest') manifest = row.manifest;
        else if (row.type === 'end') end = row.counts;
        else counts[row.type] = (counts[row.type] ?? 0) + 1;
        if ('blob' in row) row.blob.fill(0);
      }
      if (manifest === undefined || JSON.stringify(end) !== JSON.stringify(counts)) throw storeError('BackupDamaged');
      return new BackupFile({ path, start: bytes, key, header, manifest, counts });
    } finally {
      master.fill(0);
    }
  }

  /** Reads it once more, and checks it once more. Blobs are the receiver's, to overwrite. */
  rows(): AsyncGenerator<BackupRow> {
    return rowsOf(this.#path, this.#start, this.#key);
  }
}

function rowsOf(path: string, start: number, key: Buffer): AsyncGenerator<BackupRow> {
  return decodeRows(openChunks(key, createReadStream(path, { start, highWaterMark: 256 * 1024 })));
}

async function startOf(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
