import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { dirname } from 'node:path';
import type { FastifyServerFactory } from 'fastify';
import { errorCode } from '../../lib/errors.ts';
import { portInUse } from '../../lib/portOwner.ts';
import { TLS_DEFAULTS } from '../../lib/tls.ts';
import type { Settings } from '../config.ts';
import { storeError } from '../errors.ts';
import { Handshakes } from './handshakes.ts';

/** Longest that an idle connection is kept; sidecars hold theirs open by their event stream. */
const IDLE_MS = 65_000;
const HEAD_LIMIT_BYTES = 16 * 1024;

type Handler = Parameters<FastifyServerFactory>[0];

export interface ServerIdentity {
  keyPem: string;
  certificatePem: string;
  trustBundlePem: string;
}

/** The server that sidecars and the operator talk to. A client certificate is asked for; routes decide whether there must be one. */
export function createProtocolServer(handler: Handler, identity: ServerIdentity, settings: Settings): TlsServer {
  const server = createTlsServer(
    {
      ...TLS_DEFAULTS,
      ...secureContextOf(identity),
      requestCert: true,
      // Joining comes before there is a certificate; Peers refuses what TLS did not verify.
      rejectUnauthorized: false,
      handshakeTimeout: settings.requestSeconds * 1000,
      maxHeaderSize: HEAD_LIMIT_BYTES,
      connectionsCheckingInterval: 1_000,
    },
    handler,
  );
  server.maxConnections = settings.connectionLimit;
  boundStrangers(server, settings.strangerLimit);
  new Handshakes(server, settings);
  return bound(server, settings);
}

export function secureContextOf(identity: ServerIdentity): { key: string; cert: string; ca: string } {
  return { key: identity.keyPem, cert: identity.certificatePem, ca: identity.trustBundlePem };
}

export function createAdminServer(handler: Handler, settings: Settings): Server {
  return bound(
    createHttpServer({ maxHeaderSize: HEAD_LIMIT_BYTES, connectionsCheckingInterval: 1_000 }, handler),
    settings,
  );
}

/** @throws PortInUse that names who has it. */
export async function listenTcp(server: Server, host: string, port: number): Promise<AddressInfo> {
  try {
    await listening(server, () => server.listen(port, host));
  } catch (error) {
    if (errorCode(error) === 'EADDRINUSE')
      throw storeError(
        'PortInUse',
        `The store cannot listen on ${host}: ${portInUse(port)}. Stop that or choose another port.`,
      );
    throw error;
  }
  return server.address() as AddressInfo;
}

/** Listens where only this user can connect; a socket file that a dead process left is replaced. @throws SocketUnusable */
export async function listenUnix(server: Server, path: string): Promise<void> {
  privateDirectory(dirname(path));
  if (await answers(path)) throw storeError('SocketUnusable', `Another process answers on ${path}; stop it first.`);
  try {
    unlinkSync(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT')
      throw storeError('SocketUnusable', `${path} is in the way and cannot be removed.`);
  }
  // The process has umask 077, so that there is no moment at which others could connect.
  await listening(server, () => server.listen(path));
  chmodSync(path, 0o600);
}

/** Those without a certificate (they join) cannot take up the room of those that have one. */
function boundStrangers(server: TlsServer, limit: number): void {
  let strangers = 0;
  server.on('secureConnection', (socket) => {
    if (socket.getPeerX509Certificate() !== undefined) return;
    strangers += 1;
    socket.once('close', () => {
      strangers -= 1;
    });
    if (strangers > limit) socket.destroy();
  });
}

function bound<S extends Server>(server: S, settings: Settings): S {
  server.requestTimeout = settings.requestSeconds * 1000;
  server.headersTimeout = settings.requestSeconds * 1000;
  server.keepAliveTimeout = IDLE_MS;
  return server;
}

function listening(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      resolve();
    });
    listen();
  });
}

function privateDirectory(dir: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const { uid, mode } = lstatSync(dir);
  if (uid !== process.getuid?.() || (mode & 0o022) !== 0)
    throw storeError(
      'SocketUnusable',
      `${dir} belongs to somebody else or others may write to it, so the admin socket is not safe there. If it is yours, run: chmod go-w ${dir}`,
    );
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
