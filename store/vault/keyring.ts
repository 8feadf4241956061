import type { KekSpec } from '../../api/bootstrap.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { KekError, type KekProvider, type WrappedKey } from './kek.ts';
import { type SealReason, StoreSealed, sealReason } from './sealed.ts';

/** How often a KMS that works is asked whether it still does, and its key versions are read. */
const REMOTE_LOOK_MS = 15_000;
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 15_000;

interface Entry {
  spec: KekSpec;
  provider: KekProvider;
  nextLookMs: number;
  failure: { error: KekError; retryMs: number } | undefined;
}

/**
 * The key encryption keys at hand, from one provider or, during a rotation to another, from two. One of them wraps what is new; all
 * unwrap. While a provider fails, what needs it fails at once with StoreSealed, and `tick` looks whether it is back.
 */
export class Keyring {
  /** Id of the key that wraps what is new. The database decides: what is here may be a moment older. */
  current: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #entries: Entry[] = [];
  /** Proves with the current key that it is the right one. */
  #proof: () => Promise<void> = async () => {};
  #holds = 0;

  constructor(options: { clock: Clock; log: Logger; current: string }) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.current = options.current;
  }

  get providers(): readonly { spec: KekSpec; provider: KekProvider }[] {
    return this.#entries;
  }

  /** The provider of the key that wraps what is new. */
  get provider(): KekProvider | undefined {
    return this.#entryOf(this.current)?.provider;
  }

  /** Why nothing new can be wrapped, nor most of what there is be opened; undefined when all is well. */
  get sealed(): SealReason | undefined {
    const entry = this.#entryOf(this.current);
    if (entry === undefined) return sealReason(this.#unknown(this.current));
    return entry.failure && sealReason(entry.failure.error);
  }

  add(spec: KekSpec, provider: KekProvider): void {
    this.#entries.push({ spec, provider, nextLookMs: this.#clock.monotonicMs(), failure: undefined });
  }

  prove(proof: () => Promise<void>): void {
    this.#proof = proof;
  }

  /** Keeps the keys that are at hand until the answer is called: for whoever reads the database as it was a while ago. */
  hold(): () => void {
    let held = true;
    this.#holds += 1;
    return () => {
      if (held) this.#holds -= 1;
      held = false;
    };
  }

  get held(): boolean {
    return this.#holds > 0;
  }

  /** Whether unwrapping by that key is a call to somewhere else. */
  remote(keyId: string): boolean {
    return this.#entryOf(keyId)?.provider.remote ?? false;
  }

  /** @throws StoreSealed */
  wrap(keyId: string, plaintext: Buffer, aad: Buffer): Promise<WrappedKey> {
    return this.#guarded(keyId, (provider) => provider.wrap(keyId, plaintext, aad));
  }

  /** The caller overwrites the result after use. @throws StoreSealed, KekRefused, KekMissing if nobody knows the key */
  unwrap(key: WrappedKey, aad: Buffer): Promise<Buffer> {
    return this.#guarded(key.kekId, (provider) => provider.unwrap(key, aad));
  }

  /** Tries each key of a file: for what does not say which. */
  async unwrapByAny(wrapped: Buffer, aad: Buffer): Promise<Buffer> {
    const ids = this.#entries.flatMap(({ provider }) => (provider.remote ? [] : provider.keys.map(({ id }) => id)));
    for (const kekId of ids) {
      try {
        return await this.unwrap({ kekId, wrapped }, aad);
      } catch (error) {
        if (!(error instanceof KekError)) throw error;
      }
    }
    throw new KekError('KekRefused', 'no key opens it');
  }

  /** Looks at providers that are due. Tells those that went away or came back since. */
  async tick(): Promise<{ sealed?: SealReason; unsealed?: true }> {
    const before = this.sealed;
    const nowMs = this.#clock.monotonicMs();
    for (const entry of this.#entries) if (entry.nextLookMs <= nowMs) await this.#look(entry);
    const after = this.sealed;
    if (before === undefined && after !== undefined) return { sealed: after };
    return before !== undefined && after === undefined ? { unsealed: true } : {};
  }

  close(): void {
    for (const { provider } of this.#entries) provider.close();
  }

  async #look(entry: Entry): Promise<void> {
    const { provider } = entry;
    try {
      await provider.health(this.held);
      const failure = entry.failure;
      entry.failure = undefined;
      if (failure !== undefined && entry === this.#entryOf(this.current)) await this.#proof();
      if (failure !== undefined && entry.failure === undefined)
        this.#log.info({ kek: provider.where }, 'the key encryption key can be used again');
      entry.nextLookMs = this.#clock.monotonicMs() + (provider.remote && !entry.failure ? REMOTE_LOOK_MS : 0);
    } catch (error) {
      this.#fail(entry, error instanceof KekError ? error : new KekError('KekUnreachable', errorText(error)));
    }
  }

  #fail(entry: Entry, error: KekError): void {
    const before = entry.failure;
    const retryMs = before === undefined ? FIRST_RETRY_MS : Math.min(before.retryMs * 2, LAST_RETRY_MS);
    entry.failure = { error, retryMs };
    entry.nextLookMs = this.#clock.monotonicMs() + retryMs;
    if (before?.error.code !== error.code)
      this.#log.error({ kek: entry.provider.where, code: error.code, error: error.message }, 'the store is sealed');
  }

  async #guarded<T>(keyId: string, use: (provider: KekProvider) => Promise<T>): Promise<T> {
    const entry = this.#entryOf(keyId);
    if (entry === undefined) throw keyId === this.current ? this.#sealedBy(this.#unknown(keyId)) : this.#unknown(keyId);
    if (entry.failure !== undefined) throw this.#sealedBy(entry.failure.error);
    try {
      return await use(entry.provider);
    } catch (error) {
      if (!(error instanceof KekError) || error.code === 'KekRefused') throw error;
      // A key that left its Secret is of no concern to what the others wrapped.
      if (error.code === 'KekMissing' && keyId !== this.current && !entry.provider.remote) throw error;
      this.#fail(entry, error);
      throw this.#sealedBy(error);
    }
  }

  #unknown(keyId: string): KekError {
    const said = `no place that is named here has key ${keyId}`;
    const file = this.#entries.find(({ provider }) => provider.kind === 'file')?.provider;
    if (file === undefined) return new KekError('KekMissing', said);
    const trouble = file.trouble === undefined ? '' : ` (${file.trouble})`;
    return new KekError(
      'KekMissing',
      `${said}. If another replica has rotated to it, copy the key file from there to ${file.where}, with mode 0600; no restart is needed${trouble}`,
    );
  }

  #sealedBy(error: KekError): StoreSealed {
    return new StoreSealed(sealReason(error), async () => this.sealed);
  }

  #entryOf(keyId: string): Entry | undefined {
    return this.#entries.find(({ provider }) => provider.knows(keyId));
  }
}
