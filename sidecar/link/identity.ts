import { generateKeyPairSync } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { JoinBootstrap } from '../../api/bootstrap.ts';
import type { JoinAnswer, JoinProof } from '../../api/protocol.ts';
import type { Session } from '../../api/session.ts';
import { Backoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { TLS_DEFAULTS } from '../../lib/tls.ts';
import { startError } from '../startErrors.ts';
import { StoreClient } from './storeClient.ts';
import { StoreFailure, UNREACHABLE } from './storeFailure.ts';
import { StoreReplicas } from './storeReplicas.ts';

/** How long a store that is not there yet is waited for; a join token lives 60 s. */
const JOIN_LIMIT_MS = 30_000;
/** How often it is looked whether the certificate is due. */
const TICK_MS = 1_000;

interface Surroundings {
  clock: Clock;
  log: Logger;
  /** The store does not know this identity any more. */
  revoked: (reason: string) => void;
  /** What the store is trusted by from now on. */
  trusted?: (trustBundlePem: string) => void;
}

export interface IdentityOptions extends Surroundings {
  bootstrap: JoinBootstrap;
}

export interface JoinOptions extends Surroundings {
  replicas: StoreReplicas;
  trustBundlePem: string;
  proof: JoinProof;
}

/** Who this sidecar is to the store: a P-256 key that never leaves the process, and a certificate renewed at half of its life. */
export class Identity {
  readonly replicas: StoreReplicas;
  readonly client: StoreClient;
  readonly session: Session;
  readonly #o: Surroundings;
  readonly #backoff: Backoff;
  readonly #timer: NodeJS.Timeout;
  #context: SecureContext;
  /** Whichever clock gets there first: the monotonic one stands still while a machine sleeps, the other may jump back. */
  #renewAt: { monotonicMs: number; wallMs: number };
  #renewing = false;

  private constructor(options: Surroundings, replicas: StoreReplicas, joined: Joined, session: Session) {
    this.#o = options;
    this.replicas = replicas;
    this.session = session;
    this.#context = joined.context;
    this.client = new StoreClient(replicas, joined.context);
    options.trusted?.(joined.answer.trustBundlePem);
    this.#renewAt = this.#after(joined.answer.renewInSeconds);
    this.#backoff = new Backoff({ firstMs: 1_000, limitMs: 30_000 });
    this.#timer = setInterval(() => this.tick(), TICK_MS).unref();
  }

  /** Joins with the one-time token of the bootstrap, waiting for a store that is not there yet. @throws CodedError JoinFailed */
  static async join(options: IdentityOptions): Promise<Identity> {
    const { clock, log } = options;
    const { joinToken, storeUrl, trustBundlePem } = options.bootstrap;
    const replicas = StoreReplicas.of(storeUrl);
    const backoff = new Backoff({ firstMs: 100, limitMs: 2_000 });
    const untilMs = clock.monotonicMs() + JOIN_LIMIT_MS;
    for (;;) {
      try {
        return await Identity.joinOnce({ ...options, replicas, trustBundlePem, proof: { joinToken } });
      } catch (error) {
        const temporary =
          error instanceof StoreFailure &&
          (error.code === UNREACHABLE || error.code === 'Overloaded' || StoreReplicas.isUnable(error.code));
        if (!temporary || clock.monotonicMs() > untilMs)
          throw startError('JoinFailed', `The sidecar could not join the store: ${errorText(error)}`, { cause: error });
        log.warn({ error: errorText(error) }, 'the store cannot be joined yet');
        await backoff.pause();
      }
    }
  }

  /** One attempt. @throws StoreFailure */
  static async joinOnce(options: JoinOptions): Promise<Identity> {
    const { proof, replicas, trustBundlePem } = options;
    const stranger = new StoreClient(replicas, createSecureContext({ ...TLS_DEFAULTS, ca: trustBundlePem }));
    try {
      const joined = await certified((publicKeyPem) => stranger.join({ ...proof, publicKeyPem }));
      const { session } = joined.answer;
      if (session === undefined)
        throw new StoreFailure('NotPermitted', 'the store takes this for no sidecar', { status: 403 });
      return new Identity(options, replicas, joined, session);
    } finally {
      stranger.close();
    }
  }

  /** For connections to be made from now on. */
  get context(): SecureContext {
    return this.#context;
  }

  /** Renews the certificate if it is due. */
  tick(): void {
    const { clock } = this.#o;
    const due = clock.monotonicMs() >= this.#renewAt.monotonicMs || clock.nowMs() >= this.#renewAt.wallMs;
    if (due && !this.#renewing) void this.#renew();
  }

  /** Renews at a moment of its own within that time: the store has asked everybody. */
  renewWithin(seconds: number): void {
    const asked = this.#after(seconds * Math.random());
    if (asked.monotonicMs < this.#renewAt.monotonicMs) this.#renewAt = asked;
  }

  close(): void {
    clearInterval(this.#timer);
    this.client.close();
  }

  async #renew(): Promise<void> {
    this.#renewing = true;
    try {
      const { answer, context } = await certified((publicKeyPem) => this.client.renew({ publicKeyPem }));
      this.#context = context;
      this.client.use(context);
      this.#o.trusted?.(answer.trustBundlePem);
      this.#renewAt = this.#after(answer.renewInSeconds);
      this.#backoff.reset();
      this.#o.log.info({ renewInSeconds: answer.renewInSeconds }, 'the certificate was renewed');
    } catch (error) {
      if (error instanceof StoreFailure && error.code === 'IdentityRevoked') this.#o.revoked(errorText(error));
      this.#renewAt = this.#after(this.#backoff.nextMs() / 1000);
      this.#o.log.warn({ error: errorText(error) }, 'the certificate could not be renewed yet');
    } finally {
      this.#renewing = false;
    }
  }

  #after(seconds: number): { monotonicMs: number; wallMs: number } {
    const { clock } = this.#o;
    return { monotonicMs: clock.monotonicMs() + seconds * 1000, wallMs: clock.nowMs() + seconds * 1000 };
  }
}

interface Joined {
  answer: JoinAnswer;
  context: SecureContext;
}

/** Makes a key pair, has it certified, and keeps the private key in the TLS context alone. */
async function certified(certify: (publicKeyPem: string) => Promise<JoinAnswer>): Promise<Joined> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const answer = await certify(publicKey);
  const { certificatePem, trustBundlePem } = answer;
  const context = createSecureContext({ ...TLS_DEFAULTS, ca: trustBundlePem, cert: certificatePem, key: privateKey });
  return { answer, context };
}
