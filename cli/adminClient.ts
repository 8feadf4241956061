import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import type {
  AdminCredential,
  AdminSession,
  AuditChain,
  AuditEntry,
  AuditHead,
  AuditKeyAnswer,
  AuditPruned,
  AuditPruneRequest,
  CaStatus,
  JoinTokenAnswer,
  JoinTokenRequest,
} from '../api/admin.ts';
import { MATERIAL_CONTENT_TYPE } from '../api/fields.ts';
import type { KekRotateRequest, KekRotationStatus, KekStatus } from '../api/kek.ts';
import type { StoredCredential, StoreError } from '../api/protocol.ts';
import type { Revocation, RevocationAnswer, RevocationRequest } from '../api/revocation.ts';
import { errorCode } from '../lib/errors.ts';
import { CliError } from './errors.ts';
import { EXIT } from './exitCodes.ts';
import { type Folder, notRunning } from './folder.ts';

const TIMEOUT_MS = 10_000;
const BAD_GATEWAY = 502;

/** Which entries, as GET /v1/admin/audit takes it. */
export interface AuditEntriesQuery {
  chain?: string;
  after?: number;
  since?: string;
  until?: string;
  kind?: string;
  follow?: boolean;
}

/** The owner's line to a running store: api/admin.ts over its Unix socket. Every call throws NotRunning if nobody listens. */
export class AdminClient {
  readonly #folder: Folder;

  constructor(folder: Folder) {
    this.#folder = folder;
  }

  joinToken(request: JoinTokenRequest): Promise<JoinTokenAnswer> {
    return this.#json('POST', '/v1/admin/join-tokens', request);
  }

  credentials(): Promise<AdminCredential[]> {
    return this.#json('GET', '/v1/admin/credentials');
  }

  /** `key` is `namespace/name`; `frame` stays the caller's to overwrite. */
  async setMaterial(key: string, frame: Buffer): Promise<StoredCredential> {
    const response = await this.#send('PUT', `/v1/admin/credentials/${key}/material`, {
      type: MATERIAL_CONTENT_TYPE,
      bytes: frame,
    });
    return JSON.parse(await textOf(response));
  }

  async removeMaterial(key: string): Promise<void> {
    await textOf(await this.#send('DELETE', `/v1/admin/credentials/${key}/material`));
  }

  kek(): Promise<KekStatus> {
    return this.#json('GET', '/v1/admin/kek');
  }

  rotateKek(request: KekRotateRequest): Promise<KekStatus> {
    return this.#json('POST', '/v1/admin/kek/rotate', request);
  }

  /** The rotation that goes on. */
  async kekRotation(): Promise<KekRotationStatus | undefined> {
    const text = await textOf(await this.#send('GET', '/v1/admin/kek/rotation'));
    return text === '' ? undefined : JSON.parse(text);
  }

  sessions(): Promise<AdminSession[]> {
    return this.#json('GET', '/v1/admin/sessions');
  }

  async endSession(id: string): Promise<void> {
    await textOf(await this.#send('DELETE', `/v1/admin/sessions/${encodeURIComponent(id)}`));
  }

  revocations(): Promise<Revocation[]> {
    return this.#json('GET', '/v1/admin/revocations');
  }

  revoke(request: RevocationRequest): Promise<RevocationAnswer> {
    return this.#json('POST', '/v1/admin/revocations', request);
  }

  liftRevocation(id: string): Promise<Revocation> {
    return this.#json('DELETE', `/v1/admin/revocations?${new URLSearchParams({ id })}`);
  }

  ca(): Promise<CaStatus> {
    return this.#json('GET', '/v1/admin/ca');
  }

  rotateCa(root: boolean): Promise<CaStatus> {
    return this.#json('POST', '/v1/admin/ca/rotate', { root });
  }

  /** The sealed bytes; broken off unless `complete`. `frame` stays the caller's to overwrite. */
  backup(frame: Buffer): Promise<IncomingMessage> {
    return this.#send('POST', '/v1/admin/backup', { type: MATERIAL_CONTENT_TYPE, bytes: frame });
  }

  auditHead(): Promise<AuditHead> {
    return this.#json('GET', '/v1/admin/audit/head');
  }

  auditChains(): Promise<AuditChain[]> {
    return this.#json('GET', '/v1/admin/audit/chains');
  }

  pruneAudit(request: AuditPruneRequest): Promise<AuditPruned[]> {
    return this.#json('POST', '/v1/admin/audit/prune', request);
  }

  rotateAuditKey(): Promise<AuditKeyAnswer> {
    return this.#json('POST', '/v1/admin/audit/key');
  }

  /** Entries after `after`, or of a time, as they come; without end if `follow`. */
  async *audit(query: AuditEntriesQuery = {}): AsyncGenerator<AuditEntry> {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
    const response = await this.#send('GET', `/v1/admin/audit?${search}`);
    let failure: Error | undefined;
    response.on('error', (error) => {
      failure = error;
    });
    for await (const line of createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })) {
      if (line !== '') yield JSON.parse(line);
    }
    if (failure !== undefined || !response.complete)
      throw new CliError('AuditCut', 'the store ended the answer before the end of the audit', {
        exit: EXIT.notRunning,
        next: `look into ${this.#folder.files.dir}/logs/store.log`,
      });
  }

  async #json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const sent =
      body === undefined ? undefined : { type: 'application/json', bytes: Buffer.from(JSON.stringify(body)) };
    return JSON.parse(await textOf(await this.#send(method, path, sent)));
  }

  async #send(method: string, path: string, body?: { type: string; bytes: Buffer }): Promise<IncomingMessage> {
    const request = httpRequest({ socketPath: this.#folder.files.adminSocket, method, path, agent: false });
    if (body !== undefined) {
      request.setHeader('content-type', body.type);
      request.setHeader('content-length', body.bytes.length);
    }
    request.end(body?.bytes);
    const response = await this.#responded(request);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    throw storeSaid(status, await textOf(response));
  }

  #responded(request: ClientRequest): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      request.setTimeout(TIMEOUT_MS, () => request.destroy(new Error('no answer within 10 s')));
      request.once('response', (response) => {
        request.setTimeout(0);
        resolve(response);
      });
      request.once('error', (error) => reject(this.#unreachable(error)));
    });
  }

  #unreachable(error: Error): CliError {
    const code = errorCode(error);
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return notRunning(this.#folder);
    const socket = this.#folder.files.adminSocket;
    if (code === 'EACCES' || code === 'EPERM')
      return new CliError('NotOwner', `${socket} is not yours to use`, {
        exit: EXIT.notRunning,
        next: 'run this as the user that started `sidekey up`',
        cause: error,
      });
    return new CliError('Unreachable', `the store on ${socket} does not answer: ${error.message}`, {
      exit: EXIT.notRunning,
      next: `look into ${this.#folder.files.dir}/logs/store.log`,
      cause: error,
    });
  }
}

function storeSaid(status: number, body: string): CliError {
  // The last is said where a store in a cluster cannot be reached (cluster/execStream.ts).
  let error: Partial<StoreError & { next: string }> = {};
  try {
    error = JSON.parse(body);
  } catch {
    // Not from a store of ours, or cut off: the status is all there is.
  }
  return new CliError(error.code ?? 'StoreFailed', error.message ?? `the store answered ${status}`, {
    exit: status === BAD_GATEWAY ? EXIT.notRunning : EXIT.failed,
    ...(error.next !== undefined && { next: error.next }),
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
