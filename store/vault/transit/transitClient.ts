import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { errors, Pool } from 'undici';
import { errorCode, errorText } from '../../../lib/errors.ts';
import { secretBuffer } from '../../../lib/secretBuffer.ts';
import { TLS_DEFAULTS } from '../../../lib/tls.ts';
import { KekError } from '../kek.ts';

export interface TransitOptions {
  /** `https://host:8200`; plain http only on this machine, for a Vault Agent. */
  address: string;
  /** Read before every request: an agent renews it. */
  tokenFile: string;
  /** PEM of the CA of the server, if it is none of the system's. */
  caFile?: string | undefined;
  /** Vault Enterprise and OpenBao ≥ 2.3. */
  namespace?: string | undefined;
  timeoutMs?: number;
}

/** An answer that was no success but says something; `errors` are the server's own words, for telling cases apart, never for a log. */
export interface TransitRefusal {
  status: number;
  errors: string[];
}

export type TransitAnswer = { ok: true; body: Buffer } | ({ ok: false } & TransitRefusal);

const TIMEOUT_MS = 3_000;
const ATTEMPTS = 4;
const FIRST_WAIT_MS = 50;
const CONNECTIONS = 16;
const ANSWER_LIMIT_BYTES = 64 * 1024;
/** Those that may be different in a moment: no leader just now, a limit reached, not yet caught up (developer.hashicorp.com/vault/api-docs#http-status-codes). */
const WORTH_ANOTHER_TRY: ReadonlySet<number> = new Set([412, 429, 472, 473, 500, 502, 504]);

/** HTTP to a Vault or OpenBao server: token, timeouts, retries, and what each failure means. Bodies are bytes, overwritten after use. */
export class TransitClient {
  readonly #options: TransitOptions;
  readonly #timeoutMs: number;
  #pool: Pool | undefined;

  /** @throws KekUnsuitable */
  constructor(options: TransitOptions) {
    const { protocol, hostname } = new URL(options.address);
    if (protocol !== 'https:' && !(protocol === 'http:' && isLoopback(hostname)))
      throw new KekError('KekUnsuitable', `${options.address} must be https: keys travel there`);
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  }

  /** `body` is the caller's to overwrite, as is the body of the answer. @throws KekUnreachable, KekUntrusted, KekServiceSealed, KekDenied */
  async call(method: 'GET' | 'POST', path: string, body?: Buffer): Promise<TransitAnswer> {
    for (let attempt = 1; ; attempt += 1) {
      let failure: KekError;
      try {
        const answer = await this.#once(method, path, body);
        if (answer.ok || !WORTH_ANOTHER_TRY.has(answer.status)) return this.#checked(answer);
        failure = new KekError('KekUnreachable', `${this.#options.address} answered ${answer.status}`);
      } catch (error) {
        failure = this.#unreachable(error);
        if (failure.code !== 'KekUnreachable') throw failure;
      }
      if (attempt === ATTEMPTS) throw failure;
      await sleep(FIRST_WAIT_MS * 2 ** (attempt - 1) * (0.5 + Math.random()));
    }
  }

  close(): void {
    this.#pool?.destroy().catch(() => {});
    this.#pool = undefined;
  }

  async #once(method: 'GET' | 'POST', path: string, body: Buffer | undefined): Promise<TransitAnswer> {
    const { namespace } = this.#options;
    const { statusCode, body: stream } = await this.#connections().request({
      method,
      path,
      headers: {
        'x-vault-token': this.#token(),
        'x-vault-request': 'true',
        ...(namespace !== undefined && { 'x-vault-namespace': namespace }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body }),
      signal: AbortSignal.timeout(this.#timeoutMs),
    });
    const answer = await readAll(stream);
    if (statusCode >= 200 && statusCode < 300) return { ok: true, body: answer };
    return { ok: false, status: statusCode, errors: errorsOf(answer) };
  }

  #checked(answer: TransitAnswer): TransitAnswer {
    const { address, tokenFile } = this.#options;
    if (answer.ok) return answer;
    if (answer.status === 503) throw new KekError('KekServiceSealed', `${address} is sealed`);
    if (answer.status === 401 || answer.status === 403)
      throw new KekError('KekDenied', `${address} does not permit it to the token in ${tokenFile}`);
    if (answer.status >= 300 && answer.status < 400)
      throw new KekError('KekUnreachable', `${address} sends elsewhere (${answer.status}): name the active server`);
    return answer;
  }

  #token(): string {
    const { tokenFile } = this.#options;
    let token: string;
    try {
      token = readFileSync(tokenFile, 'latin1').trim();
    } catch (error) {
      throw new KekError('KekDenied', `${tokenFile} cannot be read (${errorCode(error)})`);
    }
    if (!/^[\x21-\x7e]{1,4096}$/.test(token)) throw new KekError('KekDenied', `${tokenFile} holds no token`);
    return token;
  }

  #connections(): Pool {
    if (this.#pool !== undefined) return this.#pool;
    const { address, caFile } = this.#options;
    let ca: string | undefined;
    try {
      ca = caFile === undefined ? undefined : readFileSync(caFile, 'latin1');
    } catch (error) {
      throw new KekError('KekUntrusted', `${caFile} cannot be read (${errorCode(error)})`);
    }
    this.#pool = new Pool(new URL(address).origin, {
      connections: CONNECTIONS,
      connect: { ...TLS_DEFAULTS, timeout: this.#timeoutMs, ...(ca !== undefined && { ca }) },
      headersTimeout: this.#timeoutMs,
      bodyTimeout: this.#timeoutMs,
    });
    return this.#pool;
  }

  #unreachable(error: unknown): KekError {
    if (error instanceof KekError) return error;
    const { address } = this.#options;
    const code = errorCode(error) ?? '';
    if (/CERT|SELF_SIGNED|UNABLE_TO|ALTNAME/.test(code)) {
      this.close(); // The file of its CA may be another one next time.
      return new KekError('KekUntrusted', `the certificate of ${address} does not verify (${code})`);
    }
    const why = error instanceof errors.UndiciError || code !== '' ? code : errorText(error);
    return new KekError('KekUnreachable', `${address} does not answer (${why || 'timeout'})`);
  }
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/** The body in a Buffer of its own; the pieces it came in are overwritten. @throws Error if it is longer than any that we ask for */
async function readAll(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of stream) {
    pieces.push(piece);
    length += piece.length;
    if (length > ANSWER_LIMIT_BYTES) throw new Error('the answer is too long');
  }
  const whole = secretBuffer(length);
  let at = 0;
  for (const piece of pieces) {
    piece.copy(whole, at);
    at += piece.length;
    piece.fill(0);
  }
  return whole;
}

/** `{"errors": ["…"]}` (developer.hashicorp.com/vault/api-docs#error-response). */
function errorsOf(body: Buffer): string[] {
  try {
    const { errors: texts } = JSON.parse(body.toString()) as { errors?: unknown };
    return Array.isArray(texts) ? texts.map(String) : [];
  } catch {
    return [];
  }
}
