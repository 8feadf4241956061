import { afterEach, expect, test } from 'vitest';
import { until } from '../../../sidecar/link/testkit.ts';
import { LOOPBACK } from '../../sidecar/sidecarProcess.ts';
import { BEARER, Lab, refusalOf, SECRET } from './lab.ts';

const LEASE_SECONDS = 3;
let lab: Lab;

afterEach(() => lab?.close());

async function start(): Promise<void> {
  lab = await Lab.start((made) => ({
    credentials: { 'default/key': { hosts: [made.api.host()], leaseSeconds: LEASE_SECONDS, material: SECRET } },
    integrations: { 'default/example': { hosts: [made.api.host()], alias: 'example', allowedNetworks: LOOPBACK } },
  }));
  await until(async () => (await lab.get('/')).status === 200);
}

test('with the store killed requests go on until the lease ends, then fail closed with 503 and Retry-After', async () => {
  await start();
  await lab.store.process.kill();
  const killedMs = performance.now();
  lab.api.forget();
  expect((await lab.get('/')).status).toBe(200);
  const answer = await until(async () => {
    const got = await lab.get('/');
    return got.status !== 200 && got;
  });
  expect(performance.now() - killedMs).toBeLessThan(LEASE_SECONDS * 1000 + 1_000);
  expect(refusalOf(answer)).toBe('503 StoreUnavailable');
  expect(Number(answer.fields.get('retry-after'))).toBeGreaterThan(0);
  // What got through went with the credential, and nothing went bare.
  expect(new Set(lab.api.requests.map(({ fields }) => fields.find(([name]) => name === 'Authorization')?.[1]))).toEqual(
    new Set([BEARER]),
  );
});

test('the lease is renewed while the store is there: requests go on past its end', async () => {
  await start();
  const endMs = performance.now() + LEASE_SECONDS * 1000 + 1_500;
  while (performance.now() < endMs) {
    expect((await lab.get('/')).status).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});
