import { onTestFinished } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { TestStore } from '../../test/sidecar/testStore.ts';
import { Identity } from './identity.ts';

export const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** Joins as a sidecar does; over with the test. */
export async function joinStore(store: TestStore, revoked: (reason: string) => void = () => {}): Promise<Identity> {
  const bootstrap = await store.bootstrap();
  const identity = await Identity.join({ clock: systemClock, log: quiet, bootstrap, revoked });
  onTestFinished(() => identity.close());
  return identity;
}

/** Waits for what another process or timer brings about. @throws Error after 15 s, for a machine that is busy */
export async function until<T>(what: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  const limitMs = performance.now() + 15_000;
  for (;;) {
    const value = await what();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > limitMs) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
