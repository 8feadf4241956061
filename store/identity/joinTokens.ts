import { createHash, randomBytes } from 'node:crypto';
import type { JoinTokenRequest } from '../../api/admin.ts';
import type { Clock } from '../../lib/clock.ts';
import { storeError } from '../errors.ts';
import type { Transaction } from '../persist/repository.ts';

/** What a token is good for. */
export type Invitation = JoinTokenRequest;

/** Tokens by which a new process becomes known, at whichever replica: 32 random bytes, good for one join within a minute, kept only as their SHA-256. */
export class JoinTokens {
  readonly #clock: Clock;
  readonly #lifetimeMs: number;
  readonly #limit: number;
  /** Monotonic end of those issued here, in order: the wall clock, which decides elsewhere, may jump. */
  readonly #untilMs = new Map<string, number>();

  constructor(options: { clock: Clock; seconds: number; limit: number }) {
    this.#clock = options.clock;
    this.#lifetimeMs = options.seconds * 1000;
    this.#limit = options.limit;
  }

  /** @throws Overloaded if too many wait. */
  async issue(tx: Transaction, invitation: Invitation): Promise<string> {
    this.#dropExpired();
    const nowMs = this.#clock.nowMs();
    if ((await tx.joinTokens.count(nowMs)) >= this.#limit)
      throw storeError('Overloaded', 'Too many join tokens wait for their use.');
    const token = randomBytes(32).toString('base64url');
    const key = digest(token);
    await tx.joinTokens.put(key, { invitation, expiresAtMs: nowMs + this.#lifetimeMs });
    this.#untilMs.set(key, this.#clock.monotonicMs() + this.#lifetimeMs);
    return token;
  }

  /** Takes the token out of circulation. @throws JoinTokenInvalid */
  async redeem(tx: Transaction, token: string): Promise<Invitation> {
    const key = digest(token);
    const untilMs = this.#untilMs.get(key);
    const inTime = untilMs !== undefined && untilMs > this.#clock.monotonicMs();
    const found = await tx.joinTokens.take(key, inTime ? 0 : this.#clock.nowMs());
    if (found === undefined || (untilMs !== undefined && !inTime)) throw storeError('JoinTokenInvalid');
    return found.invitation;
  }

  #dropExpired(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [key, untilMs] of this.#untilMs) {
      // Kept for as long again, so that one that has expired here does not live on by a wall clock that was set back.
      if (untilMs + this.#lifetimeMs > nowMs) return;
      this.#untilMs.delete(key);
    }
  }
}

function digest(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
