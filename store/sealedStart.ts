import type { Server } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../lib/log.ts';
import { createHttp } from './api/http.ts';
import { sealedRoutes } from './api/kekRoutes.ts';
import { createAdminServer, listenUnix } from './api/servers.ts';
import type { Settings } from './config.ts';
import { type SealReason, StoreSealed } from './vault/sealed.ts';

const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 15_000;

/**
 * Opens a store. While that fails for want of keys that may come back, only the admin socket answers: why, and 503 StoreSealed to all
 * else. Sidecars cannot connect meanwhile (the store's own certificate needs the CA key) and use what they hold.
 */
export async function openWhenUnsealed<T>(
  open: () => Promise<T>,
  options: { adminSocket: string; settings: Settings; log: Logger; sealed: (reason: SealReason) => void },
): Promise<T> {
  let waiting: { reason: SealReason; server: Server } | undefined;
  try {
    for (;;) {
      try {
        return await open();
      } catch (error) {
        if (!(error instanceof StoreSealed)) throw error;
        const { reason } = error;
        if (reason.message !== waiting?.reason.message) {
          options.log.error({ code: reason.code, reason: reason.message }, 'the store is sealed');
          options.sealed(reason);
        }
        if (waiting === undefined) waiting = { reason, server: await answerSealed(options, () => waiting!.reason) };
        waiting.reason = reason;
        await unsealed(error, (now) => {
          waiting!.reason = now;
        });
      }
    }
  } finally {
    waiting?.server.closeAllConnections();
    if (waiting !== undefined) await new Promise((resolve) => waiting!.server.close(resolve));
  }
}

async function unsealed(sealed: StoreSealed, changed: (reason: SealReason) => void): Promise<void> {
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(waitMs * 2, LAST_WAIT_MS)) {
    await sleep(waitMs);
    const reason = await sealed.look();
    if (reason === undefined) return;
    changed(reason);
  }
}

async function answerSealed(
  { adminSocket, settings, log }: { adminSocket: string; settings: Settings; log: Logger },
  reason: () => SealReason,
): Promise<Server> {
  let server: Server | undefined;
  const app = createHttp({ log, serverFactory: (handler) => (server = createAdminServer(handler, settings)) });
  sealedRoutes(app, reason);
  await app.ready();
  await listenUnix(server!, adminSocket);
  return server!;
}
