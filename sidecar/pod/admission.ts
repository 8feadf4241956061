import type { JoinProof } from '../../api/protocol.ts';
import { Backoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { LiveGrants } from '../grants/liveGrants.ts';
import { Identity } from '../link/identity.ts';
import type { Membership } from '../link/membership.ts';
import { StoreFailure } from '../link/storeFailure.ts';
import { StoreReplicas } from '../link/storeReplicas.ts';

/** Least pause after the store has said no: a pod that was revoked or deleted must not keep it busy. */
const REFUSED_PAUSE_SECONDS = 5;
/** A session that lasted so long was no mistake, and another one is asked for at once. */
const SETTLED_MS = 60_000;
/** How often the same failure is logged. */
const SAME_LINE_MS = 60_000;

export interface AdmissionOptions {
  clock: Clock;
  log: Logger;
  storeUrl: string;
  grants: LiveGrants;
  membership: Membership;
  /** What to trust the store by. */
  trust: { readonly pem: string; keep(pem: string): void };
  /** Read anew for each attempt. @throws StoreFailure */
  proof: () => Promise<JoinProof>;
  refusedPauseSeconds?: number;
}

/**
 * Keeps a pod's sidecar joined, however long that takes: at the start, and again whenever the store does not know its identity any more.
 *
 * Whether a pod may come back is for the store to say, which looks at the live pod and at revocations each time.
 */
export class Admission {
  readonly #o: AdmissionOptions;
  readonly #replicas: StoreReplicas;
  readonly #closed = new AbortController();
  #failure: string | undefined = 'the store has not been joined yet';
  #admitted = false;
  #line = { text: '', atMs: 0 };

  constructor(options: AdmissionOptions) {
    this.#o = options;
    this.#replicas = StoreReplicas.of(options.storeUrl);
  }

  /** Why there is no session now; codes and words of ours only, as any pod may ask. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Returns at once. */
  start(): void {
    void this.#run();
  }

  close(): void {
    this.#closed.abort();
  }

  async #run(): Promise<void> {
    const { clock, grants, log, membership } = this.#o;
    const again = new Backoff({ firstMs: 1_000, limitMs: 60_000 });
    while (!this.#closed.signal.aborted) {
      const lost = Promise.withResolvers<string>();
      const identity = await this.#join(lost.resolve);
      if (identity === undefined) return;
      const sinceMs = clock.monotonicMs();
      this.#failure = undefined;
      this.#admitted = true;
      grants.begin();
      membership.begin(identity, lost.resolve);
      log.info({ session: identity.session.id }, 'the store has taken this pod');
      const reason = await lost.promise;
      if (this.#closed.signal.aborted) return;
      membership.leave();
      grants.lose();
      this.#failure = 'the session was lost, and the store is asked for another';
      log.warn({ reason }, 'the session is lost; the store is asked whether it takes this pod again');
      if (clock.monotonicMs() - sinceMs >= SETTLED_MS) again.reset();
      else await again.pause(0, this.#closed.signal);
    }
  }

  /** Undefined once it is closed. */
  async #join(revoked: (reason: string) => void): Promise<Identity | undefined> {
    const { clock, log, trust } = this.#o;
    const soon = new Backoff({ firstMs: 100, limitMs: 5_000 });
    const { refusedPauseSeconds = REFUSED_PAUSE_SECONDS } = this.#o;
    const later = new Backoff({ firstMs: refusedPauseSeconds * 1_000, limitMs: 60_000 });
    for (;;) {
      const { signal } = this.#closed;
      if (signal.aborted) return undefined;
      try {
        const proof = await this.#o.proof();
        const trusted = (pem: string) => trust.keep(pem);
        const { pem: trustBundlePem } = trust;
        const identity = await Identity.joinOnce({
          clock,
          log,
          replicas: this.#replicas,
          trustBundlePem,
          proof,
          revoked,
          trusted,
        });
        if (!signal.aborted) return identity;
        identity.close();
      } catch (error) {
        const {
          code = 'InternalError',
          permanent = false,
          retryAfterSeconds = 0,
        } = error instanceof StoreFailure ? error : {};
        this.#failed(code, permanent, errorText(error));
        if (permanent) await later.pause(Math.max(refusedPauseSeconds, retryAfterSeconds), signal);
        else await soon.pause(retryAfterSeconds, signal);
      }
    }
  }

  #failed(code: string, permanent: boolean, error: string): void {
    const { clock, grants, log } = this.#o;
    this.#failure = permanent
      ? `the store does not take this pod: ${code}`
      : `the store could not be joined yet: ${code}`;
    if (permanent && this.#admitted) grants.end(`the store does not take this pod any more: ${code}`);
    else if (permanent) grants.refuse(code);
    const nowMs = clock.monotonicMs();
    if (this.#line.text === error && nowMs - this.#line.atMs < SAME_LINE_MS) return;
    this.#line = { text: error, atMs: nowMs };
    log.warn(
      { code, error },
      permanent ? 'the store does not take this pod; it is asked again' : 'the store cannot be joined yet',
    );
  }
}
