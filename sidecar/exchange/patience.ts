import type { Bounds } from '../config.ts';
import type { Attempt } from './attempt.ts';

/** For a newer version of a credential that an upstream refused; then the agent gets the 401. */
export const REFRESH_LIMIT_MS = 10_000;

/** What has taken too long while no answer has come. */
export type Overdue = 'agent' | 'upstream' | 'answer' | 'head' | undefined;

/** Tells, by how many bytes have moved at all, for how long nothing has: no chunk needs a look at the clock. */
export class Patience {
  #bytes = -1;
  #sinceMs: number;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  /** Milliseconds since something moved, to the accuracy of the sweep. */
  silentMs(bytes: number, nowMs: number): number {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#sinceMs = nowMs;
    }
    return nowMs - this.#sinceMs;
  }
}

/** Whose turn it is, if nothing has moved for too long since the request was sent, or while its body is; or the answer's head drips. */
export function overdue(
  attempt: Attempt,
  expectContinue: boolean,
  { nowMs, silentMs }: { nowMs: number; silentMs: number },
  limits: Bounds,
): Overdue {
  if (attempt.headMs(nowMs) > limits.headTotalMs) return 'head';
  // An agent that awaits 100 Continue sends nothing until the upstream has spoken.
  if (attempt.body.done || expectContinue) return silentMs > limits.answerTimeoutMs ? 'answer' : undefined;
  if (silentMs <= limits.bodyTimeoutMs) return undefined;
  return attempt.blocked ? 'upstream' : 'agent';
}
