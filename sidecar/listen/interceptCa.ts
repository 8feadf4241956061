import { type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Clock } from '../../lib/clock.ts';
import { TLS_DEFAULTS } from '../../lib/tls.ts';
import { generateP256, type Issuer, issueCertificate, toPem } from '../../lib/x509.ts';

const HOUR_MS = 3_600_000;
/** How far the clocks of agent and sidecar may be apart (containers share one; virtual machines that were paused do not). */
const BACKDATE_MS = HOUR_MS;
/** A clock that was ahead when the CA was made is put right later; leaves are minted anew then, the CA is not. */
const CA_BACKDATE_MS = 48 * HOUR_MS;
/** The agent reads the CA once at its start, so it must outlast the longest-lived agent. */
const CA_LIFETIME_MS = 365 * 24 * HOUR_MS;
const LEAF_LIFETIME_MS = 24 * HOUR_MS;
const LEAF_RENEWAL_MS = (LEAF_LIFETIME_MS * 2) / 3;
/** Without the post-quantum hybrid that OpenSSL prefers: it doubles the cost of a resumption, and this link never leaves the pod. */
const GROUPS = 'X25519:P-256:P-384';
/** A context holds some 35 KB outside the heap. */
const CONTEXT_LIMIT = 256;
const COMMON_NAME_LIMIT = 64;

interface Leaf {
  context: SecureContext;
  notBeforeMs: number;
  renewAtMs: number;
}

/** A CA as it is kept. */
export interface CaPair {
  certificate: X509Certificate;
  privateKey: KeyObject;
}

/** Where a CA outlives the process. */
export interface CaKeeper {
  /** One that is fit for use at this time, in milliseconds since 1970. */
  load(nowMs: number): CaPair | undefined;
  /** @throws Error if it cannot be kept */
  save(pair: CaPair): void;
}

/** What everything that is minted shares; made at the first need, so that it does not delay the start. */
interface Keys {
  issuer: Issuer;
  caPem: string;
  leafKey: ReturnType<typeof generateP256>;
  leafKeyPem: string;
  /** One set for all contexts: a session is resumed although its certificate was renewed or dropped meanwhile. */
  ticketKeys: Buffer;
}

/**
 * The CA that speaks for intercepted hosts to this agent alone: P-256, in memory only, gone with the process unless there is a keeper.
 *
 * All leaves share one key pair, as one process holds them all anyway.
 */
export class InterceptCa {
  readonly #clock: Clock;
  readonly #leaves = new Map<string, Leaf>();
  readonly #keeper: CaKeeper | undefined;
  #keys: Keys | undefined;

  constructor({ clock, keeper }: { clock: Clock; keeper?: CaKeeper }) {
    this.#clock = clock;
    this.#keeper = keeper;
  }

  /** What the agent has to trust, PEM. @throws Error if it cannot be kept, where it is to be */
  get caPem(): string {
    return this.#prepare().caPem;
  }

  /**
   * The TLS server context for a host name or IP literal (IPv6 without brackets), in lower case.
   *
   * Minted at most once per host, anew at two thirds of its life or after the clock jumped back; 256 are kept, the least
   * recently used goes first.
   */
  context(host: string): SecureContext {
    const nowMs = this.#clock.nowMs();
    let leaf = this.#leaves.get(host);
    if (leaf === undefined || nowMs >= leaf.renewAtMs || nowMs < leaf.notBeforeMs) leaf = this.#mint(host, nowMs);
    // To the end of the Map's order: the first one is the least recently used.
    this.#leaves.delete(host);
    this.#leaves.set(host, leaf);
    if (this.#leaves.size > CONTEXT_LIMIT) this.#leaves.delete(this.#leaves.keys().next().value!);
    return leaf.context;
  }

  #mint(host: string, nowMs: number): Leaf {
    const { issuer, leafKey, leafKeyPem, ticketKeys } = this.#prepare();
    const notBeforeMs = nowMs - BACKDATE_MS;
    const { der } = issueCertificate({
      // Only the subject alternative name counts; this is for people.
      commonName: host.slice(0, COMMON_NAME_LIMIT),
      publicKey: leafKey.publicKey,
      notBefore: new Date(notBeforeMs),
      notAfter: new Date(nowMs + LEAF_LIFETIME_MS),
      issuer,
      ...(isIP(host) === 0 ? { dnsNames: [host] } : { ipAddresses: [host] }),
      usages: ['serverAuth'],
    });
    const context = createSecureContext({
      ...TLS_DEFAULTS,
      honorCipherOrder: true,
      ecdhCurve: GROUPS,
      cert: toPem(der),
      key: leafKeyPem,
      sessionIdContext: 'sidekey',
      ticketKeys,
    });
    return { context, notBeforeMs, renewAtMs: nowMs + LEAF_RENEWAL_MS };
  }

  #prepare(): Keys {
    if (this.#keys !== undefined) return this.#keys;
    const { certificate, privateKey } = this.#keeper?.load(this.#clock.nowMs()) ?? this.#make();
    const leafKey = generateP256();
    this.#keys = {
      issuer: { commonName: '', privateKey, certificateDer: certificate.raw },
      caPem: certificate.toString(),
      leafKey,
      leafKeyPem: leafKey.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      ticketKeys: randomBytes(48),
    };
    return this.#keys;
  }

  #make(): CaPair {
    const nowMs = this.#clock.nowMs();
    const commonName = `Sidekey agent CA ${randomBytes(8).toString('hex')}`;
    const { privateKey, publicKey } = generateP256();
    const { der } = issueCertificate({
      commonName,
      publicKey,
      notBefore: new Date(nowMs - CA_BACKDATE_MS),
      notAfter: new Date(nowMs + CA_LIFETIME_MS),
      issuer: { commonName, privateKey },
      ca: { pathLength: 0 },
    });
    const pair = { certificate: new X509Certificate(der), privateKey };
    this.#keeper?.save(pair);
    return pair;
  }
}
