import { createHash, randomBytes } from 'node:crypto';
import type { JoinTokenRequest } from '../../api/admin.ts';
import type { Clock } from '../../lib/clock.ts';
import { storeError } from '../errors.ts';

/** What a token is good for. */
export type Invitation = JoinTokenRequest;

/** Tokens by which a new process becomes known: 32 random bytes, good for one join within a minute, kept only as their SHA-256. */
export class JoinTokens {
  readonly #clock: Clock;
  readonly #lifetimeMs: number;
  readonly #limit: number;
  /** In order of expiry. */
  readonly #waiting = new Map<string, { invitation: Invitation; untilMs: number }>();

  constructor(options: { clock: Clock; seconds: number; limit: number }) {
    this.#clock = options.clock;
    this.#lifetimeMs = options.seconds * 1000;
    this.#limit = options.limit;
  }

  /** @throws Overloaded if too many wait. */
  issue(invitation: Invitation): string {
    this.#dropExpired();
    if (this.#waiting.size >= this.#limit) throw storeError('Overloaded', 'Too many join tokens wait for their use.');
    const token = randomBytes(32).toString('base64url');
    this.#waiting.set(digest(token), { invitation, untilMs: this.#clock.monotonicMs() + this.#lifetimeMs });
    return token;
  }

  /** Takes the token out of circulation. @throws JoinTokenInvalid */
  redeem(token: string): Invitation {
    this.#dropExpired();
    const key = digest(token);
    const found = this.#waiting.get(key);
    if (found === undefined) throw storeError('JoinTokenInvalid');
    this.#waiting.delete(key);
    return found.invitation;
  }

  #dropExpired(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [key, { untilMs }] of this.#waiting) {
      if (untilMs > nowMs) return;
      this.#waiting.delete(key);
    }
  }
}

function digest(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
