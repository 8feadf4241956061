import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../../../sidecar/link/testkit.ts';
import { Lab } from './lab.ts';
import type { RawUpstream } from './rawUpstream.ts';

let lab: Lab;
let stranger: RawUpstream;

beforeAll(async () => {
  lab = await Lab.start(async (made) => {
    stranger = await made.upstream(['stranger.localhost', 'api.localhost', 'sub.api.localhost']);
    return {};
  });
});
afterAll(() => lab?.close());

/** Whose certificate the agent is shown. */
async function issuerOf(authority: string): Promise<'the sidecar' | 'the host' | 'nobody'> {
  const agent = await lab.tunnel(authority);
  const shown = (agent.socket as TLSSocket).getPeerX509Certificate()!;
  agent.close();
  const issued = (pem: string) => shown.verify(new X509Certificate(pem).publicKey);
  if (issued(lab.sidecar.caPem)) return 'the sidecar';
  return issued(lab.ca.pem) ? 'the host' : 'nobody';
}

test('a host of an Integration is intercepted', async () => {
  expect(await issuerOf(lab.api.host())).toBe('the sidecar');
});

test('any other host keeps its own certificate, another port or label of a covered one included', async () => {
  for (const name of ['stranger.localhost', 'api.localhost', 'sub.api.localhost'])
    expect([name, await issuerOf(stranger.host(name))]).toEqual([name, 'the host']);
});

test('a host is not intercepted any more once its Integration is gone', async () => {
  await lab.store.removeIntegration();
  await until(async () => (await issuerOf(lab.api.host())) === 'the host');
  await lab.store.integration({ hosts: [lab.api.host()] });
  await until(async () => (await issuerOf(lab.api.host())) === 'the sidecar');
});

test('the certificate that intercepts a host is good for that host alone', async () => {
  const agent = await lab.tunnel(lab.api.host());
  const shown = (agent.socket as TLSSocket).getPeerX509Certificate()!;
  agent.close();
  expect(shown.subjectAltName).toBe('DNS:api.localhost');
  expect(shown.ca).toBe(false);
});

test('the CA of the sidecar can vouch for nothing but servers, and its key is in no file', () => {
  const ca = new X509Certificate(lab.sidecar.caPem);
  expect([ca.ca, ca.checkIssued(ca)]).toEqual([true, true]);
  expect(lab.sidecar.caPem).not.toContain('PRIVATE');
});
