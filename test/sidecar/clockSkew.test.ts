import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { JoinTokenAnswer } from '../../api/admin.ts';
import { type Clock, systemClock } from '../../lib/clock.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import type { Refusal } from '../../sidecar/errors.ts';
import type { HeldLease } from '../../sidecar/grants/lease.ts';
import { LiveGrants } from '../../sidecar/grants/liveGrants.ts';
import { EventStream } from '../../sidecar/link/eventStream.ts';
import { Identity } from '../../sidecar/link/identity.ts';
import { quiet } from '../../sidecar/link/testkit.ts';
import { startStore } from '../../store/app.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { ensureKekFile } from '../../store/vault/kekFile.ts';
import { admin, json, material, SESSION, StoreClient } from '../store/storeClient.ts';
import type { StoreProcess } from '../store/storeProcess.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** By how much each certificate is dated back: the clock of a sidecar may be that much behind. */
const BOUND_MS = 15 * MINUTE_MS;

/** The wall clock of a machine that is that far off; time passes as it does elsewhere. */
function skewed(byMs: number): Clock & { aheadMs: number } {
  return {
    aheadMs: 0,
    nowMs: () => systemClock.nowMs() + byMs,
    monotonicMs() {
      return systemClock.monotonicMs() + this.aheadMs;
    },
  };
}

/** A store on a machine whose clock is that far off, seen from here, with one credential; TLS here goes by the clock of this machine. */
async function storeWith(byMs: number) {
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-skew-'));
  const stateDir = join(dir, 'state');
  ensureKekFile(stateFiles(stateDir));
  const fatal = (error: Error) => {
    throw error;
  };
  const running = await startStore({
    bootstrap: { part: 'store', stateDir, listenHost: '127.0.0.1', listenPort: 0 },
    clock: skewed(byMs),
    log: quiet,
    fatal,
  });
  onTestFinished(async () => {
    await running.close();
    rmSync(dir, { recursive: true, force: true });
  });
  const store = { ...running, stateDir, adminSocket: stateFiles(stateDir).adminSocket } as unknown as StoreProcess;
  return { store, running };
}

async function bootstrapOf({ store, running }: Awaited<ReturnType<typeof storeWith>>) {
  const body = json({ kind: 'session', session: SESSION });
  const { joinToken } = (await admin(store, 'POST', '/v1/admin/join-tokens', body)).json<JoinTokenAnswer>();
  return { storeUrl: running.storeUrl, trustBundlePem: running.trustBundlePem, joinToken };
}

async function follow(storeByMs: number, sidecarByMs: number) {
  const far = await storeWith(storeByMs);
  const operator = await StoreClient.join(far.store, { kind: 'operator' });
  await operator.call('PUT', '/v1/credentials/default/key', json(credentialRecord({ leaseSeconds: 900 })));
  await operator.call('PUT', '/v1/credentials/default/key/material', material({ value: 'sk' }));
  await operator.call('PUT', '/v1/integrations/default/example', json(integrationRecord()));
  operator.close();
  const clock = skewed(sidecarByMs);
  const identity = await Identity.join({ clock, log: quiet, bootstrap: await bootstrapOf(far), revoked: () => {} });
  const grants = new LiveGrants({ clock, log: quiet, source: identity.client });
  const stream = new EventStream({
    replicas: identity.replicas,
    context: () => identity.context,
    event: (event) => grants.apply(event),
    log: quiet,
    revoked: (reason) => grants.end(reason),
  });
  onTestFinished(() => {
    stream.close();
    grants.leases.end();
    identity.close();
  });
  await grants.settled(5_000);
  const obtain = () => new Promise<HeldLease | Refusal>((resolve) => void grants.leases.obtain('default/key', resolve));
  return { clock, grants, identity, obtain };
}

test.each([
  ['behind by 10 minutes', 10 * MINUTE_MS, -10 * MINUTE_MS],
  ['ahead by 10 minutes', -10 * MINUTE_MS, 10 * MINUTE_MS],
  ['behind by almost 15 minutes', BOUND_MS - 5_000, -BOUND_MS],
  ['ahead by 11 hours', -11 * HOUR_MS, 11 * HOUR_MS],
])(
  'a sidecar whose clock is %s joins, follows, leases for as long as any other, and renews',
  async (_, storeByMs, sidecarByMs) => {
    const { clock, grants, identity, obtain } = await follow(storeByMs, sidecarByMs);
    const lease = (await obtain()) as HeldLease;
    expect(lease.version).toBe(1);
    clock.aheadMs += 899_000;
    expect(lease.inForce(clock)).toBe(true);
    clock.aheadMs += 1_000;
    expect(lease.inForce(clock)).toBe(false);
    grants.leases.tick();
    expect(((await obtain()) as HeldLease).id).not.toBe(lease.id);
    const before = identity.context;
    clock.aheadMs += 2_200_000;
    identity.tick();
    await expect.poll(() => identity.context).not.toBe(before);
  },
);

test.each([
  ['behind by more than the 15 minutes that certificates are dated back', 20 * MINUTE_MS],
  ['ahead by more than the day that the certificate of the store lives', -25 * HOUR_MS],
])('a sidecar whose clock is %s is refused, and told that it is the clock', async (_, storeByMs) => {
  const far = await storeWith(storeByMs);
  const bootstrap = await bootstrapOf(far);
  const joining = Identity.join({ clock: systemClock, log: quiet, bootstrap, revoked: () => {} });
  await expect(joining).rejects.toMatchObject({
    code: 'JoinFailed',
    message: expect.stringMatching(
      /is not valid at .* by the clock of this machine; set this clock or the one of the store/,
    ),
  });
});
