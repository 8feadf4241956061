import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import type { FastifyServerFactory } from 'fastify';
import { TLS_DEFAULTS } from '../lib/tls.ts';

const HEAD_LIMIT_BYTES = 16 * 1024;
/** Longer than the API server keeps an idle connection (90 s in Go): it must never write to one that we are just closing. */
const IDLE_MS = 120_000;
const REQUEST_MS = 10_000;
const CONNECTION_LIMIT = 1_024;

export interface Certificate {
  certPem: string;
  keyPem: string;
  endMs: number;
}

/** Answers the API server; until it has a certificate every handshake fails. */
export function createReviewServer(handler: Parameters<FastifyServerFactory>[0]): Server {
  const server = createServer(
    {
      ...TLS_DEFAULTS,
      handshakeTimeout: REQUEST_MS,
      maxHeaderSize: HEAD_LIMIT_BYTES,
      connectionsCheckingInterval: 1_000,
      requestTimeout: REQUEST_MS,
      keepAliveTimeout: IDLE_MS,
      // Answers are small; without it the last packet of one may wait for the client's acknowledgement.
      noDelay: true,
    },
    handler,
  );
  server.maxConnections = CONNECTION_LIMIT;
  return server;
}

/** From now on; connections that stand keep what they have. */
export function serve(server: Server, { certPem, keyPem }: Certificate): void {
  server.setSecureContext({ ...TLS_DEFAULTS, cert: certPem, key: keyPem });
}

/** Of a Secret of type kubernetes.io/tls, or one with the same keys. Undefined unless it can be served. */
export function certificateOf(data: Readonly<Record<string, string>> | undefined): Certificate | undefined {
  const text = (key: string) => Buffer.from(data?.[key] ?? '', 'base64').toString();
  const certPem = text('tls.crt');
  const keyPem = text('tls.key');
  try {
    const leaf = new X509Certificate(certPem);
    return leaf.checkPrivateKey(createPrivateKey(keyPem))
      ? { certPem, keyPem, endMs: leaf.validToDate.getTime() }
      : undefined;
  } catch {
    return undefined;
  }
}
