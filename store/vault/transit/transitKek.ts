import { decodeBase64, encodeBase64 } from '../../../lib/base64Bytes.ts';
import { secretBuffer } from '../../../lib/secretBuffer.ts';
import { KekError, type KekKey, type KekProvider, type WrappedKey } from '../kek.ts';
import { type TransitAnswer, TransitClient, type TransitOptions, type TransitRefusal } from './transitClient.ts';

export interface TransitKekOptions extends TransitOptions {
  /** Path that the engine is mounted at; `transit` unless it says otherwise. */
  mount?: string | undefined;
  keyName: string;
}

/** What GET /transit/keys/NAME says of a key. */
interface KeyInfo {
  type: string;
  derived: boolean;
  keys: Record<string, unknown>;
  min_decryption_version: number;
}

/** The symmetric ones, which take associated data. */
const SUITABLE: ReadonlySet<string> = new Set([
  'aes128-gcm96',
  'aes256-gcm96',
  'chacha20-poly1305',
  'xchacha20-poly1305',
]);
const CIPHERTEXT = /^vault:v([1-9][0-9]{0,8}):[A-Za-z0-9+/]+={0,2}$/;
/** Any will do: it is never stored. */
const PROBE_AAD = [Buffer.from('sidekey probe'), Buffer.from('sidekey probe of another')] as const;

/**
 * A key of the transit engine of HashiCorp Vault or OpenBao (developer.hashicorp.com/vault/api-docs/secret/transit,
 * openbao.org/api-docs/secret/transit). Each version of it is a key of its own: `transit:MOUNT/NAME:vN`.
 *
 * What a key belongs to goes along as `associated_data`, and as the `context` too where the key is derived. The policy of the token:
 * `update` on MOUNT/encrypt/NAME and MOUNT/decrypt/NAME, `read` on MOUNT/keys/NAME, and for `sidekey kek rotate` `update` on
 * MOUNT/keys/NAME/rotate. Never `create`: a key that is missed must not be made anew.
 */
export class TransitKek implements KekProvider {
  readonly kind = 'transit';
  readonly remote = true;
  readonly returns = true;
  readonly where: string;
  readonly #client: TransitClient;
  readonly #mount: string;
  readonly #keyName: string;
  readonly #prefix: string;
  #keys: readonly KekKey[] = [];
  #derived: boolean | undefined;
  #binds = false;

  constructor(options: TransitKekOptions) {
    this.#client = new TransitClient(options);
    this.#mount = (options.mount ?? 'transit').replace(/^\/+|\/+$/g, '');
    this.#keyName = options.keyName;
    this.#prefix = `transit:${this.#mount}/${this.#keyName}:v`;
    this.where = `${options.address.replace(/\/+$/, '')}/${this.#mount}/${this.#keyName}`;
  }

  get keys(): readonly KekKey[] {
    return this.#keys;
  }

  knows(keyId: string): boolean {
    return keyId.startsWith(this.#prefix);
  }

  /** Reads what versions there are; once, that the server binds associated data: Vault before 1.13 (hashicorp/vault#17638) takes no notice of it. */
  async health(): Promise<void> {
    const { type, derived, keys, min_decryption_version: minimum } = await this.#read();
    if (!SUITABLE.has(type)) throw new KekError('KekUnsuitable', `${this.where} has type ${type}`);
    this.#derived = derived;
    this.#keys = Object.entries(keys)
      .map(([version, created]) => ({ version: Number(version), created }))
      .filter(({ version }) => version >= minimum)
      .sort((a, b) => a.version - b.version)
      .map(({ version, created }) => ({ id: `${this.#prefix}${version}`, ...createdAt(created) }));
    if (!this.#binds) await this.#probe();
  }

  async wrap(keyId: string, plaintext: Buffer, aad: Buffer): Promise<WrappedKey> {
    const encoded = encodeBase64(plaintext);
    const parts = await this.#bound(aad);
    const body = jsonBody('plaintext', encoded, { ...parts, key_version: this.#version(keyId) });
    encoded.fill(0);
    try {
      const { data } = await this.#json<{ ciphertext: unknown }>('encrypt', body);
      const [ciphertext, version] = CIPHERTEXT.exec(String(data.ciphertext)) ?? [];
      if (ciphertext === undefined || `${this.#prefix}${version}` !== keyId)
        throw new KekError('KekUnsuitable', `${this.where} did not encrypt by key version ${keyId}`);
      return { kekId: keyId, wrapped: Buffer.from(ciphertext, 'latin1') };
    } finally {
      body.fill(0);
    }
  }

  async unwrap(key: WrappedKey, aad: Buffer): Promise<Buffer> {
    const ciphertext = key.wrapped.toString('latin1');
    // The id is not what decides, so it must not say something else.
    if (CIPHERTEXT.exec(ciphertext)?.[1] !== String(this.#version(key.kekId)))
      throw new KekError('KekRefused', `what was wrapped by key ${key.kekId} was changed`);
    const body = Buffer.from(JSON.stringify({ ciphertext, ...(await this.#bound(aad)) }));
    const answer = await this.#client.call('POST', this.#path('decrypt'), body);
    if (!answer.ok) throw this.#refused(answer, key.kekId);
    try {
      return plaintextOf(answer.body) ?? this.#nonsense();
    } finally {
      answer.body.fill(0);
    }
  }

  async makeKey(): Promise<string> {
    const answer = await this.#client.call(
      'POST',
      `/v1/${this.#mount}/keys/${this.#keyName}/rotate`,
      Buffer.from('{}'),
    );
    if (!answer.ok) throw this.#failed(answer);
    await this.health();
    return this.#keys.at(-1)?.id ?? this.#nonsense();
  }

  close(): void {
    this.#client.close();
  }

  async #probe(): Promise<void> {
    const newest = this.#keys.at(-1)?.id;
    if (newest === undefined) throw new KekError('KekMissing', `${this.where} has no version`);
    const [aad, other] = PROBE_AAD;
    const wrapped = await this.wrap(newest, Buffer.from('probe'), aad);
    await this.unwrap(wrapped, aad);
    const opened = await this.unwrap(wrapped, other).then(
      () => true,
      (error) => !(error instanceof KekError && error.code === 'KekRefused'),
    );
    if (opened)
      throw new KekError('KekUnsuitable', `${this.where} does not bind associated data: the server is too old`);
    this.#binds = true;
  }

  async #read(): Promise<KeyInfo> {
    const answer = await this.#client.call('GET', `/v1/${this.#mount}/keys/${this.#keyName}`);
    if (!answer.ok) throw this.#failed(answer);
    return this.#parsed<KeyInfo>(answer).data;
  }

  async #json<T>(operation: 'encrypt', body: Buffer): Promise<{ data: T }> {
    const answer = await this.#client.call('POST', this.#path(operation), body);
    if (!answer.ok) throw this.#failed(answer);
    return this.#parsed<T>(answer);
  }

  #parsed<T>(answer: TransitAnswer & { ok: true }): { data: T } {
    try {
      const parsed = JSON.parse(answer.body.toString());
      return typeof parsed?.data === 'object' && parsed.data !== null ? parsed : this.#nonsense();
    } catch (error) {
      if (error instanceof KekError) throw error;
      return this.#nonsense();
    }
  }

  /** What binds the key to where it belongs. */
  async #bound(aad: Buffer): Promise<{ associated_data: string; context?: string }> {
    this.#derived ??= (await this.#read()).derived;
    const encoded = aad.toString('base64');
    return { associated_data: encoded, ...(this.#derived && { context: encoded }) };
  }

  #version(keyId: string): number {
    return Number(keyId.slice(this.#prefix.length));
  }

  #path(operation: 'encrypt' | 'decrypt'): string {
    return `/v1/${this.#mount}/${operation}/${this.#keyName}`;
  }

  /** Of a decryption. A key that is gone is told from a ciphertext that does not open by the words alone: both are 400. */
  #refused(answer: TransitRefusal, keyId: string): KekError {
    if (answer.status !== 400 || isMissing(answer)) return this.#failed(answer);
    return new KekError('KekRefused', `what was wrapped by key ${keyId} does not open`);
  }

  #failed(answer: TransitRefusal): KekError {
    if (answer.status === 404 || isMissing(answer))
      return new KekError('KekMissing', `there is no key ${this.where}, or no such engine`);
    return new KekError('KekUnsuitable', `${this.where} refused a request (${answer.status})`);
  }

  #nonsense(): never {
    throw new KekError('KekUnreachable', `${this.where} gave an answer that is none`);
  }
}

function isMissing({ errors }: TransitRefusal): boolean {
  return errors.some((text) => text.includes('encryption key not found'));
}

function createdAt(created: unknown): { createdAtMs?: number } {
  return typeof created === 'number' ? { createdAtMs: created * 1000 } : {};
}

/** A JSON object with one member of secret bytes, which never become a string; the caller overwrites it. */
function jsonBody(name: string, secret: Buffer, rest: object): Buffer {
  const head = Buffer.from(`{"${name}":"`);
  const tail = Buffer.from(`",${JSON.stringify(rest).slice(1)}`);
  const body = secretBuffer(head.length + secret.length + tail.length);
  head.copy(body);
  secret.copy(body, head.length);
  tail.copy(body, head.length + secret.length);
  return body;
}

const PLAINTEXT = Buffer.from('"plaintext":"');
const QUOTE = 0x22;

/** The plaintext of an answer, without making a string of it: base64 has no escapes in JSON, but for `\/`, which Go does not write. */
function plaintextOf(body: Buffer): Buffer | undefined {
  const start = body.indexOf(PLAINTEXT);
  if (start < 0) return undefined;
  const end = body.indexOf(QUOTE, start + PLAINTEXT.length);
  return end < 0 ? undefined : decodeBase64(body.subarray(start + PLAINTEXT.length, end));
}
