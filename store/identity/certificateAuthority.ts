import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { STORE_DNS_NAME } from '../../api/protocol.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { generateP256, issueCertificate, toPem } from '../../lib/x509.ts';
import { storeError } from '../errors.ts';
import type { Change, Repository, Transaction } from '../persist/repository.ts';
import { ownKey } from '../vault/ownKey.ts';
import type { Vault } from '../vault/vault.ts';
import {
  activeIntermediate,
  CA_STATE,
  type CaState,
  damaged,
  issuerKeyName,
  parseCaState,
  trustBundleOf,
} from './caState.ts';
import { firstCaState } from './firstCaState.ts';

/** How far back certificates are dated, for clients whose clock is behind. */
const BACKDATE_MS = 15 * 60_000;

export interface ClientCertificate {
  /** Leaf first, then the intermediate. */
  pem: string;
  serial: string;
  fingerprint: string;
}

interface CertificateAuthorityOptions {
  repository: Repository;
  vault: Vault;
  clock: Clock;
  log: Logger;
  /** How long an intermediate is valid; it is replaced long before. */
  intermediateSeconds: number;
}

/**
 * Issues the identities that sidecars, the operator and the store itself show each other: P-256, by an intermediate of path length 0
 * below a root. Their keys are in the database under the KEK; that of the root is only in memory while it signs an intermediate.
 */
export class CertificateAuthority {
  readonly #o: CertificateAuthorityOptions;
  readonly #listeners: ((ofTrust: boolean) => void)[] = [];
  #stored: Buffer;
  #state: CaState;
  #privateKey: KeyObject;
  #issuers: readonly KeyObject[];
  #reloading: Promise<void> = Promise.resolve();
  #stale = false;

  private constructor(options: CertificateAuthorityOptions, loaded: Loaded) {
    this.#o = options;
    this.#stored = loaded.stored;
    this.#state = loaded.state;
    this.#privateKey = loaded.privateKey;
    this.#issuers = loaded.issuers;
  }

  /** Opens what there is, or makes the first root and intermediate. @throws DatabaseDamaged */
  static async load(options: CertificateAuthorityOptions): Promise<CertificateAuthority> {
    const { repository } = options;
    const found = await repository.transaction((tx) => tx.meta.get(CA_STATE));
    return new CertificateAuthority(options, await open(options, found ?? (await firstCaState(options))));
  }

  get state(): CaState {
    return this.#state;
  }

  /** All roots: what clients trust the store by, and the store clients. */
  get trustBundlePem(): string {
    return trustBundleOf(this.#state);
  }

  /** Keys by which a client's certificate may be signed. Roots are among them for what was issued before there were intermediates. */
  get issuers(): readonly KeyObject[] {
    return this.#issuers;
  }

  /** Called when another intermediate issues from now on, or the trust bundle is another one; `ofTrust` if roots are different. */
  onChange(listener: (ofTrust: boolean) => void): void {
    this.#listeners.push(listener);
  }

  /** Another replica may have changed it. */
  changed(changes: readonly Change[]): void {
    if (changes.some((change) => change.kind === 'meta' && change.name === CA_STATE)) void this.reload();
  }

  /** Takes over what the database has. A failure leaves everything as it was; `tick` tries again. */
  reload(): Promise<void> {
    this.#reloading = this.#reloading.then(async () => {
      try {
        await this.#reload();
        this.#stale = false;
      } catch (error) {
        this.#stale = true;
        this.#o.log.error({ error: errorText(error) }, 'the changed CA could not be loaded yet');
      }
    });
    return this.#reloading;
  }

  async tick(): Promise<void> {
    if (this.#stale) await this.reload();
  }

  /**
   * Puts `next` in the place of the present state, unless another replica was first; false then. `more` belongs to the same
   * transaction.
   */
  async replace(next: CaState, more: (tx: Transaction) => Promise<void>): Promise<boolean> {
    const before = this.#stored;
    const done = await this.#o.repository.transaction(async (tx) => {
      if (!(await tx.meta.get(CA_STATE))?.equals(before)) return false;
      await tx.meta.set(CA_STATE, Buffer.from(JSON.stringify(next)));
      await more(tx);
      return true;
    });
    await this.reload();
    return done;
  }

  /** Whether we issue by what the database has: another replica may have changed that a moment ago, or while this one was cut off. */
  async isCurrent(tx: Transaction): Promise<boolean> {
    return (await tx.meta.get(CA_STATE))?.equals(this.#stored) ?? false;
  }

  issueClient(request: { publicKey: KeyObject; spiffeId: string; seconds: number }): ClientCertificate {
    const { publicKey, spiffeId, seconds } = request;
    const { der, pem } = this.#issue({
      commonName: 'sidekey client',
      publicKey,
      lifetimeMs: seconds * 1000,
      uris: [spiffeId],
      usages: ['clientAuth'],
    });
    const { serialNumber, fingerprint256 } = new X509Certificate(der);
    return { pem, serial: serialNumber, fingerprint: fingerprint256 };
  }

  /** A new key and certificate for the store's own listener. */
  issueServer(spiffeId: string, lifetimeMs: number): { keyPem: string; certificatePem: string } {
    const { privateKey, publicKey } = generateP256();
    const { pem } = this.#issue({
      commonName: STORE_DNS_NAME,
      publicKey,
      lifetimeMs,
      dnsNames: [STORE_DNS_NAME],
      uris: [spiffeId],
      usages: ['serverAuth'],
    });
    return { keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), certificatePem: pem };
  }

  #issue(request: {
    commonName: string;
    publicKey: KeyObject;
    lifetimeMs: number;
    dnsNames?: string[];
    uris: string[];
    usages: ('clientAuth' | 'serverAuth')[];
  }): { der: Buffer; pem: string } {
    const { lifetimeMs, ...rest } = request;
    const { certificatePem, id } = activeIntermediate(this.#state);
    const nowMs = this.#o.clock.nowMs();
    const certificateDer = new X509Certificate(certificatePem).raw;
    const { der } = issueCertificate({
      ...rest,
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(nowMs + lifetimeMs),
      issuer: { commonName: id, privateKey: this.#privateKey, certificateDer },
      serialNumber: Buffer.concat([Buffer.from(id, 'hex'), randomBytes(12)]),
    });
    return { der, pem: toPem(der) + certificatePem };
  }

  async #reload(): Promise<void> {
    const stored = await this.#o.repository.transaction((tx) => tx.meta.get(CA_STATE));
    if (stored === undefined || stored.equals(this.#stored)) return;
    const loaded = await open(this.#o, stored);
    const before = this.#state;
    this.#stored = loaded.stored;
    this.#state = loaded.state;
    this.#privateKey = loaded.privateKey;
    this.#issuers = loaded.issuers;
    const ofTrust = trustBundleOf(before) !== this.trustBundlePem || activeRoot(before) !== activeRoot(this.#state);
    for (const listener of this.#listeners) listener(ofTrust);
  }
}

function activeRoot(state: CaState): string {
  return activeIntermediate(state).root;
}

interface Loaded {
  stored: Buffer;
  state: CaState;
  privateKey: KeyObject;
  issuers: KeyObject[];
}

/** @throws DatabaseDamaged unless every certificate is for its key */
async function open(options: CertificateAuthorityOptions, stored: Buffer): Promise<Loaded> {
  const state = parseCaState(stored);
  for (const root of state.roots) {
    if (!new X509Certificate(root.certificatePem).checkPrivateKey(await storedKey(options, root.keyName)))
      throw damaged('the CA');
  }
  const active = activeIntermediate(state);
  const privateKey = await storedKey(options, issuerKeyName(active));
  if (!new X509Certificate(active.certificatePem).checkPrivateKey(privateKey)) throw damaged('the issuing CA');
  const issuers = [...state.intermediates, ...state.roots].map(
    (ca) => new X509Certificate(ca.certificatePem).publicKey,
  );
  return { stored: Buffer.from(stored), state, privateKey, issuers };
}

/** A private key of ours that has to be there. @throws DatabaseDamaged */
export async function storedKey(
  { repository, vault }: Pick<CertificateAuthorityOptions, 'repository' | 'vault'>,
  name: string,
): Promise<KeyObject> {
  const der = await ownKey(repository, vault, name, () => {
    throw storeError('DatabaseDamaged', `The ${name} is not in the database any more. Restore a backup.`);
  });
  try {
    return createPrivateKey({ key: der, type: 'pkcs8', format: 'der' });
  } finally {
    der.fill(0);
  }
}

/** The key of a join or renewal. @throws MalformedRequest unless it is P-256. */
export function clientPublicKey(pem: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    throw storeError('MalformedRequest', 'publicKeyPem is no public key in PEM.');
  }
  if (pem.includes('PRIVATE KEY') || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw storeError('MalformedRequest', 'publicKeyPem must be a P-256 public key (SubjectPublicKeyInfo).');
  return key;
}
