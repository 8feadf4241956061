import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { onTestFinished } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { type CertificateRequest, generateP256, issueCertificate, toPem } from '../../lib/x509.ts';
import type { Refusal } from '../errors.ts';
import { AllowedNetworks } from './allowedNetworks.ts';
import type { Lookup } from './resolve.ts';
import { type Target, type UpstreamConnection, type UpstreamOptions, Upstreams } from './upstreams.ts';

const HOUR_MS = 3_600_000;

/** A CA for one test, and the certificates it issues. */
export function createTestCa(commonName: string) {
  const { privateKey, publicKey } = generateP256();
  const now = Date.now();
  const validity = { notBefore: new Date(now - 2 * HOUR_MS), notAfter: new Date(now + 2 * HOUR_MS) };
  const issuer = { commonName, privateKey };
  const ca = issueCertificate({ commonName, publicKey, ...validity, issuer, ca: { pathLength: 1 } });
  return {
    pem: toPem(ca.der),
    issuer,
    issue(changes: Partial<CertificateRequest> = {}) {
      const keys = generateP256();
      const request = { commonName: 'upstream', dnsNames: ['api.test'], usages: ['serverAuth' as const], ...validity };
      const { der } = issueCertificate({ ...request, publicKey: keys.publicKey, issuer, ...changes });
      return { cert: toPem(der), key: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), keys };
    },
  };
}

/** Starts a server on a free loopback port, closed when the test is over. */
export async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Names ending in `.test` are on this machine; no other name exists. */
export const testLookup: Lookup = (host, callback) => {
  setImmediate(() => {
    if (host.endsWith('.test')) callback(null, [{ address: '127.0.0.1', family: 4 }]);
    else callback(Object.assign(new Error('not found'), { code: 'ENOTFOUND' }), []);
  });
};

export function createUpstreams(options: Partial<UpstreamOptions> = {}): Upstreams {
  const upstreams = new Upstreams({
    clock: systemClock,
    rootsPem: '',
    ownPorts: new Set(),
    lookup: testLookup,
    ...options,
  });
  onTestFinished(() => upstreams.close());
  return upstreams;
}

/** A credentialed target on this machine, for which loopback is allowed. */
export function targetFor(port: number, changes: { scheme?: 'http' | 'https'; host?: string } & Partial<Target> = {}) {
  const { host = 'api.test', scheme = 'https', ...rest } = changes;
  return {
    id: `${scheme}://${host}:${port} openai@1`,
    authority: { scheme, host, port },
    credentialed: true,
    networks: new AllowedNetworks(['127.0.0.0/8', '::1']),
    ...rest,
  };
}

/** `acquire` as a promise; a connection has a handler that does nothing and ends with the test. */
export function acquire(upstreams: Upstreams, target: Target, fresh = false): Promise<UpstreamConnection | Refusal> {
  return new Promise((resolve) => {
    upstreams.acquire(target, fresh, (result) => {
      if (!('kind' in result)) {
        result.handler = { data() {}, end() {}, closed() {}, drain() {} };
        onTestFinished(() => result.destroy());
      }
      resolve(result);
    });
  });
}

/** @throws Error if it was refused. */
export async function connected(result: Promise<UpstreamConnection | Refusal>): Promise<UpstreamConnection> {
  const connection = await result;
  if ('kind' in connection) throw new Error(`${connection.code}: ${connection.detail}`);
  return connection;
}

/** Sends `text` and gives what came back once it holds `until`. */
export function exchange(connection: UpstreamConnection, text: string, until: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = '';
    connection.handler = {
      data(chunk) {
        received += chunk.toString('latin1');
        if (received.includes(until)) resolve(received);
      },
      end() {},
      closed: (error) => reject(error ?? new Error('closed')),
      drain() {},
    };
    connection.socket.write(text);
  });
}
