import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { AuditHead } from '../../api/admin.ts';
import { auditCheckpointSigned, auditHeadSigned, auditKeyLinkSigned, SOLE_AUDIT_CHAIN } from '../../lib/auditChain.ts';
import { errorCode, errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { storeError } from '../errors.ts';
import type { Change, Repository } from '../persist/repository.ts';
import { syncDirectory } from '../vault/kekFile.ts';
import { checkpointOf, keyLinks, linksBetween } from './anchors.ts';

/**
 * The last signed head of the audit in a file beside the database, so that cutting the end off the one shows against the other.
 * Written at most once in `intervalMs` and at the end, replaced as a whole.
 */
export class AuditHeadFile {
  readonly #path: string;
  readonly #intervalMs: number;
  readonly #log: Logger;
  readonly #chain: string;
  #pending: AuditHead | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: { path: string; intervalMs: number; log: Logger; chain: string }) {
    this.#path = options.path;
    this.#intervalMs = options.intervalMs;
    this.#log = options.log;
    this.#chain = options.chain;
  }

  /** Compares the file with the database. @throws AuditTruncated */
  async check(repository: Repository, publicKeyPem: string): Promise<void> {
    const head = this.#read();
    if (head === undefined) return;
    const chain = head.chain ?? SOLE_AUDIT_CHAIN;
    const sound = await repository.transaction(async (tx) => {
      const links = linksBetween(await keyLinks(tx), head.publicKeyPem, publicKeyPem);
      if (!auditHeadSigned(head) || links?.every(auditKeyLinkSigned) !== true) return false;
      const checkpoint = await checkpointOf(tx, chain);
      // Pruned since the file was written.
      if (checkpoint !== undefined && auditCheckpointSigned(checkpoint) && head.seq <= checkpoint.seq) return true;
      const [entry] = await tx.audit.entries(chain, head.seq - 1, 1);
      return entry?.seq === head.seq && entry.hash === head.hash;
    });
    if (sound) return;
    throw storeError(
      'AuditTruncated',
      `${this.#path} was signed at entry ${head.seq} (${head.at}), which the database does not have so: the database is older, or was changed. ` +
        `Put the right database back; to go on with this one, move ${this.#path} away.`,
    );
  }

  changed(changes: readonly Change[]): void {
    const last = changes.findLast(
      (change) => change.kind === 'audit' && (change.head.chain ?? SOLE_AUDIT_CHAIN) === this.#chain,
    );
    if (last?.kind !== 'audit') return;
    this.#pending = last.head;
    this.#timer ??= setTimeout(() => this.#write(), this.#intervalMs).unref();
  }

  /** Writes what is left to write. */
  close(): void {
    this.#write();
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#pending === undefined) return;
    try {
      replaceFile(this.#path, `${JSON.stringify(this.#pending)}\n`);
      this.#pending = undefined;
    } catch (error) {
      this.#log.error({ file: this.#path, error: errorText(error) }, 'the head of the audit could not be written');
    }
  }

  #read(): AuditHead | undefined {
    try {
      return JSON.parse(readFileSync(this.#path, 'utf8'));
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw storeError('AuditTruncated', `${this.#path} cannot be read: ${errorText(error)}. Move it away to go on.`);
    }
  }
}

function replaceFile(path: string, text: string): void {
  const next = `${path}.next`;
  const descriptor = openSync(next, 'w', 0o600);
  try {
    writeSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(next, path);
  syncDirectory(dirname(path));
}
