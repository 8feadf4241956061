import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OperatorBootstrap } from '../api/bootstrap.ts';
import { Backoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { errorCode } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { ObjectEvents } from './act/objectEvents.ts';
import { StatusWriter } from './act/statusFile.ts';
import { StoreClient } from './act/storeClient.ts';
import { operatorError } from './errors.ts';
import { Reconciler } from './reconciler.ts';
import { keepRenewed } from './renewal.ts';
import { FolderSource } from './source/folder.ts';

const JOIN_ATTEMPTS = 6;
const RETRY_FIRST_MS = 200;
const RETRY_MOST_MS = 30_000;
/** A store that goes away during our start does not keep the parent waiting. */
const FIRST_ROUND_MS = 10_000;
/** What is being told to the store when we are asked to end may finish. */
const DRAIN_MS = 2_000;

export interface OperatorDeps {
  bootstrap: OperatorBootstrap;
  clock: Clock;
  log: Logger;
  /** Called when the process can no longer do its work and must end. */
  fatal: (error: Error) => void;
}

export interface RunningOperator {
  close(): Promise<void>;
}

/** Joins the store and makes it hold what the folder says; resolves once it does. @throws any OperatorErrorCode */
export async function startOperator({ bootstrap, clock, fatal, log }: OperatorDeps): Promise<RunningOperator> {
  checkFolder(bootstrap.folder);
  const source = new FolderSource(bootstrap.folder);
  const statuses = new StatusWriter(bootstrap.statusFile, clock);
  const client = await join(bootstrap);
  const reconciler = new Reconciler({ source, client, statuses, clock, log, onLost: fatal });
  const events = new ObjectEvents({
    client,
    onConnected: () => reconciler.storeConnected(),
    onEvent: ({ credential }) => reconciler.storeChanged(credential),
    onRenew: (withinSeconds) => renewal.within(withinSeconds),
    onAway: (why) => reconciler.storeAway(why),
    onLost: fatal,
  });
  const renewal = keepRenewed(client, {
    renew: () => client.renew(),
    onRenewed: () => events.restart(),
    onLost: fatal,
    log,
  });
  await source.start(() => reconciler.trigger());
  events.start();
  await Promise.race([reconciler.firstRound, sleep(FIRST_ROUND_MS, undefined, { ref: false })]);
  return {
    close: async () => {
      renewal.stop();
      events.close();
      await Promise.race([reconciler.close(), sleep(DRAIN_MS, undefined, { ref: false })]);
      source.close();
      await client.close();
    },
  };
}

function checkFolder(folder: string): void {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw operatorError('FolderMissing', `${folder} is no folder; create it or name another.`);
}

/** The store may be a moment behind; a token that it has refused is not tried again. */
async function join({ joinToken, storeUrl, trustBundlePem }: OperatorBootstrap): Promise<StoreClient> {
  const backoff = new Backoff({ firstMs: RETRY_FIRST_MS, limitMs: RETRY_MOST_MS });
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await StoreClient.join({ storeUrl, trustBundlePem }, { joinToken });
    } catch (error) {
      if (errorCode(error) !== 'StoreUnreachable' || attempt === JOIN_ATTEMPTS) throw error;
      await sleep(backoff.nextMs());
    }
  }
}
