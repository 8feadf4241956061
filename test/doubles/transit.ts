import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

/**
 * A Vault or OpenBao server with a transit engine, as strict as the real one: written from the published documentation of its API
 * (developer.hashicorp.com/vault/api-docs and /vault/api-docs/secret/transit, openbao.org/api-docs/secret/transit) and the error texts
 * of OpenBao's engine (builtin/logical/transit/path_{encrypt,decrypt,keys}.go, sdk/helper/keysutil/policy.go, MPL-2.0), read, not copied.
 *
 * Where the real server takes no notice of something (an unknown parameter), this one keeps it in `violations`, which tests want empty.
 */
export class TransitDouble {
  readonly token = `hvs.${randomBytes(24).toString('base64url')}`;
  readonly violations: string[] = [];
  /** Requests by `METHOD path`. */
  readonly requests: string[] = [];
  sealed = false;
  /** Statuses to answer the next requests with, before anything else. */
  readonly failures: number[] = [];
  /** Takes requests and does not answer. */
  hangs = false;
  /** As servers before 1.13: associated_data is an unknown parameter. */
  bindsAssociatedData = true;
  /** What the policy of the token permits. */
  permits: (operation: 'read' | 'create' | 'update', path: string) => boolean = () => true;
  readonly #mount: string;
  readonly #keys = new Map<string, Key>();
  #server: Server | undefined;
  #port = 0;
  readonly #tls: { key: string; cert: string } | undefined;

  constructor(options: { mount?: string; tls?: { key: string; cert: string } } = {}) {
    this.#mount = options.mount ?? 'transit';
    this.#tls = options.tls;
  }

  get address(): string {
    return `${this.#tls === undefined ? 'http' : 'https'}://127.0.0.1:${this.#port}`;
  }

  /** Also again after `stop`, on the same port. */
  async start(): Promise<this> {
    const handler = (request: IncomingMessage, response: ServerResponse) => {
      this.#handle(request, response).catch((error: unknown) => {
        this.violations.push(String(error));
        response.destroy();
      });
    };
    this.#server = this.#tls === undefined ? createHttpServer(handler) : createTlsServer(this.#tls, handler);
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
    return this;
  }

  async stop(): Promise<void> {
    this.#server?.close();
    this.#server?.closeAllConnections();
    if (this.#server?.listening) await once(this.#server, 'close');
  }

  createKey(name: string, options: { derived?: boolean; convergent?: boolean; type?: string } = {}): void {
    if (options.convergent && !options.derived)
      throw new Error('convergent encryption requires derivation to be enabled');
    this.#keys.set(name, {
      type: options.type ?? 'aes256-gcm96',
      derived: options.derived ?? false,
      convergent: options.convergent ?? false,
      versions: [newVersion()],
      minDecryption: 1,
      minEncryption: 0,
    });
  }

  setSealed(sealed: boolean): void {
    this.sealed = sealed;
  }

  deleteKey(name: string): void {
    this.#keys.delete(name);
  }

  rotateKey(name: string): void {
    this.#keys.get(name)!.versions.push(newVersion());
  }

  /** POST /transit/keys/NAME/config */
  configure(name: string, config: { minDecryption?: number; minEncryption?: number }): void {
    Object.assign(this.#keys.get(name)!, config);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    this.requests.push(`${method} ${url}`);
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    if (this.hangs) return;
    const answer = this.#answer(method, url, request, Buffer.concat(pieces));
    response.writeHead(answer.status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
    response.end(answer.body === undefined ? undefined : `${JSON.stringify(answer.body)}\n`);
  }

  #answer(method: string, url: string, request: IncomingMessage, body: Buffer): Answer {
    const failure = this.failures.shift();
    if (failure !== undefined) return refused(failure, 'internal error');
    if (this.sealed) return refused(503, 'Vault is sealed');
    if (url.includes('?')) this.violations.push(`query in ${url}`);
    if (request.headers['x-vault-request'] !== 'true') this.violations.push('X-Vault-Request is missing');
    if (request.headers['x-vault-token'] !== this.token) return refused(403, 'permission denied');
    const [, mount, rest] = /^\/v1\/([a-z0-9/-]+?)\/((?:encrypt|decrypt|keys)\/.*)$/.exec(url) ?? [];
    if (mount !== this.#mount || rest === undefined)
      return refused(404, `no handler for route "${url.slice(4)}". route entry not found.`);
    const [, operation, name, more] = /^(encrypt|decrypt|keys)\/(\w(?:[\w.-]*\w)?)(\/rotate)?$/.exec(rest) ?? [];
    if (operation === undefined || name === undefined) return refused(404, `unsupported path`);
    const key = this.#keys.get(name);
    if (operation === 'keys' && more === undefined) {
      if (method !== 'GET') return refused(405, '1 error occurred:\n\t* unsupported operation\n\n');
      if (!this.permits('read', rest)) return denied();
      return key === undefined
        ? { status: 404, body: { errors: [] } }
        : { status: 200, body: { data: about(name, key) } };
    }
    if (method !== 'POST' && method !== 'PUT') return refused(405, '1 error occurred:\n\t* unsupported operation\n\n');
    if (request.headers['content-type'] !== 'application/json') this.violations.push('Content-Type is not JSON');
    const parameters = parameterOf(body);
    if (parameters === undefined) return refused(400, 'failed to parse JSON input: invalid character');
    // A token with `create` would have a missing key made anew; one that may only update gets an error.
    if (!this.permits(operation === 'encrypt' && key === undefined ? 'create' : 'update', rest)) {
      if (key !== undefined || !this.permits('update', rest)) return denied();
      return refused(400, 'encryption key not found');
    }
    if (key === undefined && operation === 'encrypt') {
      this.violations.push(`the token may create ${name}`);
      return refused(400, 'encryption key not found');
    }
    if (key === undefined) return refused(400, operation === 'keys' ? 'key not found' : 'encryption key not found');
    if (operation === 'keys') {
      this.#only(parameters, []);
      key.versions.push(newVersion());
      return { status: 200, body: { data: about(name, key) } };
    }
    try {
      return {
        status: 200,
        body: { data: operation === 'encrypt' ? this.#encrypt(key, parameters) : this.#decrypt(key, parameters) },
      };
    } catch (error) {
      if (error instanceof UserError) return refused(400, error.message);
      throw error;
    }
  }

  #encrypt(key: Key, parameters: Parameters): { ciphertext: string; key_version: number } {
    this.#only(parameters, ['plaintext', 'associated_data', 'context', 'key_version']);
    if (typeof parameters.plaintext !== 'string') throw new UserError('missing plaintext to encrypt');
    if (!parameters.associated_data) this.violations.push('associated_data is missing');
    const plaintext = base64(parameters.plaintext);
    const context = base64(text(parameters, 'context'));
    const aad = this.#aad(parameters);
    const latest = key.versions.length;
    const asked = Number(parameters.key_version ?? 0);
    if (!Number.isInteger(asked) || asked < 0) throw new UserError('requested version for encryption is negative');
    if (asked > latest) throw new UserError('requested version for encryption is higher than the latest key version');
    if (asked !== 0 && asked < key.minEncryption)
      throw new UserError('requested version for encryption is less than the minimum encryption key version');
    const version = asked || latest;
    const dataKey = derive(key, version, context);
    // Convergent encryption (version 3): the nonce is an HMAC of the plaintext, so that equal ones under one context encrypt alike.
    const nonce = key.convergent ? Buffer.from(hkdfSync('sha256', dataKey, plaintext, 'nonce', 12)) : randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', dataKey, nonce);
    cipher.setAAD(aad);
    const sealed = Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
    return { ciphertext: `vault:v${version}:${sealed.toString('base64')}`, key_version: version };
  }

  #decrypt(key: Key, parameters: Parameters): { plaintext: string } {
    this.#only(parameters, ['ciphertext', 'associated_data', 'context']);
    const ciphertext = text(parameters, 'ciphertext');
    if (ciphertext === '') throw new UserError('missing ciphertext to decrypt');
    const context = base64(text(parameters, 'context'));
    const aad = this.#aad(parameters);
    if (!ciphertext.startsWith('vault:v')) throw new UserError('invalid ciphertext: no prefix');
    const [number = '', encoded] = ciphertext.slice('vault:v'.length).split(/:(.*)/s);
    if (encoded === undefined) throw new UserError('invalid ciphertext: wrong number of fields');
    if (!/^-?\d+$/.test(number)) throw new UserError('invalid ciphertext: version number could not be decoded');
    const version = Number(number) || 1;
    if (version > key.versions.length) throw new UserError('invalid ciphertext: version is too new');
    if (version < key.minDecryption)
      throw new UserError('ciphertext or signature version is disallowed by policy (too old)');
    const sealed = strictBase64(encoded);
    if (sealed === undefined) throw new UserError('invalid ciphertext: could not decode base64');
    if (sealed.length < 12 + 16) throw new UserError('invalid ciphertext length');
    const decipher = createDecipheriv('aes-256-gcm', derive(key, version, context), sealed.subarray(0, 12));
    decipher.setAAD(aad);
    decipher.setAuthTag(sealed.subarray(-16));
    const plaintext = decipher.update(sealed.subarray(12, -16));
    try {
      decipher.final();
    } catch {
      throw new UserError('cipher: message authentication failed');
    }
    return { plaintext: plaintext.toString('base64') };
  }

  #aad(parameters: Parameters): Buffer {
    const aad = base64(text(parameters, 'associated_data'));
    return this.bindsAssociatedData ? aad : Buffer.alloc(0);
  }

  #only(parameters: Parameters, names: readonly string[]): void {
    for (const name of Object.keys(parameters))
      if (!names.includes(name)) this.violations.push(`unknown parameter ${name}`);
  }
}

interface Key {
  type: string;
  derived: boolean;
  convergent: boolean;
  versions: { bytes: Buffer; createdSeconds: number }[];
  minDecryption: number;
  minEncryption: number;
}

type Parameters = Record<string, unknown>;

interface Answer {
  status: number;
  body?: unknown;
}

/** What the engine answers with 400. */
class UserError extends Error {}

function newVersion(): Key['versions'][number] {
  return { bytes: randomBytes(32), createdSeconds: Math.floor(Date.now() / 1000) };
}

/** The key of the version; of a derived one, HKDF-SHA256 over the context, which must be there. */
function derive(key: Key, version: number, context: Buffer): Buffer {
  const { bytes } = key.versions[version - 1]!;
  if (!key.derived) return bytes;
  if (context.length === 0)
    throw new UserError(
      "missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request information must be included in order to perform operations with the key",
    );
  return Buffer.from(hkdfSync('sha256', bytes, Buffer.alloc(0), context, 32));
}

function about(name: string, key: Key): object {
  return {
    name,
    type: key.type,
    derived: key.derived,
    ...(key.derived && { kdf: 'hkdf_sha256', convergent_encryption: key.convergent }),
    deletion_allowed: false,
    exportable: false,
    allow_plaintext_backup: false,
    imported_key: false,
    keys: Object.fromEntries(key.versions.map(({ createdSeconds }, index) => [String(index + 1), createdSeconds])),
    latest_version: key.versions.length,
    min_available_version: 0,
    min_decryption_version: key.minDecryption,
    min_encryption_version: key.minEncryption,
    supports_encryption: true,
    supports_decryption: true,
    supports_derivation: true,
    supports_signing: false,
  };
}

function parameterOf(body: Buffer): Parameters | undefined {
  try {
    const value = JSON.parse(body.toString());
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function text(parameters: Parameters, name: string): string {
  const value = parameters[name] ?? '';
  if (typeof value !== 'string') throw new UserError(`error converting input for field "${name}"`);
  return value;
}

/** As Go's base64.StdEncoding. */
function base64(encoded: string): Buffer {
  const decoded = strictBase64(encoded);
  if (decoded === undefined) throw new UserError('illegal base64 data at input byte 0');
  return decoded;
}

function strictBase64(encoded: string): Buffer | undefined {
  const decoded = Buffer.from(encoded, 'base64');
  return decoded.toString('base64') === encoded ? decoded : undefined;
}

function refused(status: number, message: string): Answer {
  return { status, body: { errors: [message] } };
}

function denied(): Answer {
  return refused(403, '1 error occurred:\n\t* permission denied\n\n');
}
