import { X509Certificate } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { auditOf } from '../store/storeClient.ts';
import { BEARER, Lab } from './rules/lab.ts';

const DAY_MS = 24 * 3_600_000;
const FAKE_CLOCK = new URL('rules/fakeClock.ts', import.meta.url).pathname;
let lab: Lab;
afterEach(() => lab?.close());

/** Whether a certificate is valid at a time, in milliseconds since 1970. */
const valid = ({ validFromDate, validToDate }: X509Certificate, atMs: number) =>
  validFromDate.getTime() <= atMs && atMs <= validToDate.getTime();

test('the clock jumps by a day, back by two, and to where it was: leases, sessions and connections go on, certificates fit', async () => {
  const steps = [DAY_MS, -2 * DAY_MS, DAY_MS];
  const env = { PATH: process.env.PATH, TEST_CLOCK: JSON.stringify(steps) };
  lab = await Lab.start(() => ({ env, nodeArguments: ['--import', FAKE_CLOCK] }));
  const host = lab.api.host();
  const request = `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  const kept = await lab.tunnel();
  const ca = new X509Certificate(lab.sidecar.caPem);
  const session = await lab.sidecar.sessionId();

  let offsetMs = 0;
  for (const step of [0, ...steps]) {
    if (step !== 0) process.kill(lab.sidecar.child.pid!, 'SIGUSR2');
    offsetMs += step;
    // It looks once a second whether its own certificate is due.
    await sleep(1_200);
    expect((await kept.send(request).answer()).status).toBe(200);
    expect((await lab.get('/')).status).toBe(200);
    expect(lab.api.sent('authorization')).toEqual([BEARER]);
    // The clock of this process has not jumped: its own check of the dates would be that of another machine.
    const fresh = await lab.tunnel(host, { rejectUnauthorized: false });
    const leaf = (fresh.socket as TLSSocket).getPeerX509Certificate()!;
    expect((await fresh.send(request).answer()).status).toBe(200);
    fresh.close();
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect([valid(leaf, Date.now() + offsetMs), valid(ca, Date.now() + offsetMs)]).toEqual([true, true]);
  }
  kept.close();

  expect((await lab.sidecar.health('/readyz')).status).toBe(200);
  expect(await lab.sidecar.sessionId()).toBe(session);
  expect(lab.sidecar.log.join('')).not.toMatch(/a fault of the sidecar|could not be renewed/);
  // A jump ahead looks like a sleep, over which a lease may have ended: it is asked for anew, once. Jumps back end none.
  const leases = (await auditOf(lab.store.process)).filter(({ event }) => event.kind === 'lease.issued');
  expect(leases).toHaveLength(2);
});
