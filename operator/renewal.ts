import type { JoinProof } from '../api/protocol.ts';
import { Backoff } from '../lib/backoff.ts';
import { errorCode, errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { StoreClient } from './act/storeClient.ts';

const RETRY = { firstMs: 200, limitMs: 30_000 };
/** Longest time that a Node timer can wait. */
const TIMER_LIMIT_MS = 2 ** 31 - 1;

export interface Renewal {
  /** Earlier than it would be, at a moment of its own: the store has asked everybody. */
  within(seconds: number): void;
  stop(): void;
}

/** Another certificate: in a cluster by the token of our living pod, as the first one, for there the store renews no operator. */
export async function renewIdentity(client: StoreClient, trustBundlePem: string, proof: JoinProof): Promise<void> {
  if ('serviceAccountToken' in proof) await client.join(trustBundlePem, proof);
  else await client.renew();
}

/** Renews the certificate of a client that has joined, until it is stopped or the identity is lost. */
export function keepRenewed(
  client: StoreClient,
  options: { renew: () => Promise<void>; onRenewed: () => void; onLost: (error: Error) => void; log: Logger },
): Renewal {
  const { log, onLost, onRenewed } = options;
  const backoff = new Backoff(RETRY);
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const schedule = (ms: number) => {
    clearTimeout(timer);
    if (!stopped) timer = setTimeout(renew, Math.min(ms, TIMER_LIMIT_MS));
  };
  const renew = async () => {
    try {
      await options.renew();
      backoff.reset();
      if (!stopped) onRenewed();
      schedule(client.renewInSeconds * 1000);
    } catch (error) {
      if (stopped) return;
      if (errorCode(error) === 'IdentityLost') {
        onLost(error as Error);
        return;
      }
      log.warn({ error: errorText(error) }, 'the certificate was not renewed; it is tried again');
      schedule(backoff.nextMs());
    }
  };
  schedule(client.renewInSeconds * 1000);
  return {
    within: (seconds) => schedule(Math.random() * seconds * 1000),
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
