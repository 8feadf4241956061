import { dueForRenewal, type Pair } from './pair.ts';

/** What there is, as gathered; certificates in PEM, one a text. */
export interface WebhookTlsState {
  /** What replicas are to serve. */
  current?: Pair | undefined;
  /** What they are to serve once the API server trusts its CA. */
  next?: Pair | undefined;
  /** CAs that are to be trusted. */
  bundle: readonly string[];
  /** Those that every webhook of the configuration has as its caBundle. */
  registered: readonly string[];
  /** For how long this process has seen the bundle registered. Not a time of somebody's clock: that may jump, or be another's. */
  registeredForMs: number;
  /** For how long this process has seen every replica serve `current`, and at least one; undefined if that is not so. */
  servedForMs?: number | undefined;
  /** For how long this process has waited to see that. */
  unservedForMs: number;
}

/** One step; the next one is decided from what there is then. */
export type WebhookTlsAction =
  /** A first pair, to be served at once: nothing else is trusted. */
  | { step: 'start' }
  /** A next pair, its CA beside those that are trusted. */
  | { step: 'prepare'; bundle: readonly string[] }
  | { step: 'register'; bundle: readonly string[] }
  | { step: 'switch'; pair: Pair }
  | { step: 'drop'; bundle: readonly string[] }
  | { step: 'wait'; until: 'nextSeen' | 'served' | 'renewal' };

/** Every API server has seen a change of its webhooks long before that: they follow it by a watch, and a broken watch is noticed and resumed within. */
export const SEEN_MS = 30_000;
/** If replicas cannot be reached from here, registering a first CA is better than refusing pods for good. */
export const UNSERVED_LIMIT_MS = 120_000;

/**
 * The next step of what the API server knows the webhook by. A CA is trusted before anything under it is served, and trusted until nothing
 * under it is served any more; the first one is served before it is registered. Pure.
 */
export function decideWebhookTls(state: WebhookTlsState, nowMs: number, seenMs = SEEN_MS): WebhookTlsAction {
  const { bundle, current, next, registered, registeredForMs } = state;
  if (next !== undefined) {
    if (!sameSet(bundle, registered)) return { step: 'register', bundle };
    return registeredForMs >= seenMs ? { step: 'switch', pair: next } : { step: 'wait', until: 'nextSeen' };
  }
  if (current === undefined) {
    // Replicas may still serve what is lost under a CA that is trusted: the new one comes by the same steps as at a renewal.
    return registered.length === 0 ? { step: 'start' } : { step: 'prepare', bundle: registered };
  }
  if (dueForRenewal(current, nowMs) && registered.includes(current.caPem)) return { step: 'prepare', bundle };
  if (!registered.includes(current.caPem)) return firstRegistration(state);
  if (bundle.length > 1) {
    const served = state.servedForMs !== undefined && state.servedForMs >= seenMs;
    return served ? { step: 'drop', bundle: [current.caPem] } : { step: 'wait', until: 'served' };
  }
  if (!sameSet(bundle, registered)) return { step: 'register', bundle };
  return { step: 'wait', until: 'renewal' };
}

/** Nothing that is served is trusted, at the beginning or because somebody has changed the configuration. */
function firstRegistration({ bundle, registered, servedForMs, unservedForMs }: WebhookTlsState): WebhookTlsAction {
  const verified = servedForMs !== undefined || registered.length > 0 || unservedForMs >= UNSERVED_LIMIT_MS;
  return verified ? { step: 'register', bundle } : { step: 'wait', until: 'served' };
}

function sameSet(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((item) => other.includes(item));
}
