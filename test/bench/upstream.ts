import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { generateP256, issueCertificate, toPem } from '../../lib/x509.ts';
import { Child } from './child.ts';

/** What every contender places, and what the upstream asks for. */
export const SECRET = 'bench-3f9c2e7a51d84b06a2c7e1f0958d3b64';
/** A name that resolves to this machine without DNS (RFC 6761 section 6.3). */
export const HOST = 'api.localhost';
export const TRANSFER_BYTES = 100_000_000;
/** The answer to the small request, the size of a short JSON object. */
export const SMALL = JSON.stringify({ id: 'bench', object: 'answer', text: 'x'.repeat(460) });
export const UPLOADED = '{"read":true}';

/** The TLS server that every contender sends to, and what contenders need to know of it. */
export interface Upstream {
  readonly child: Child;
  /** host:port. */
  readonly authority: string;
  readonly port: number;
  /** PEM files: the CA of the upstream, a certificate for it (contenders that stand in for interception present it too) and its key, both in one. */
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
  readonly bundleFile: string;
  /** Where contenders put their files. */
  readonly dir: string;
}

/**
 * nginx over TLS 1.3 with AES-128-GCM for everybody, keep-alive without end, answering from memory.
 *
 * It answers 200 only to the right Host with the right Authorization, so a request that lost its credential counts as failed.
 */
export async function startUpstream(dir: string): Promise<Upstream> {
  const port = await freePort();
  const authority = `${HOST}:${port}`;
  const files = { caFile: 'ca.pem', certFile: 'cert.pem', keyFile: 'key.pem', bundleFile: 'bundle.pem' };
  const upstream = {
    authority,
    port,
    dir,
    caFile: join(dir, files.caFile),
    certFile: join(dir, files.certFile),
    keyFile: join(dir, files.keyFile),
    bundleFile: join(dir, files.bundleFile),
  };
  writeCertificates(upstream);
  mkdirSync(join(dir, 'www'));
  writeDownload(join(dir, 'www', 'download'));
  const config = join(dir, 'upstream.conf');
  writeFileSync(config, nginxConfig(upstream, await freePort()));
  return { ...upstream, child: Child.start('rest', 'nginx', ['-c', config, '-e', 'stderr']) };
}

/** What every nginx of the bench starts with: one worker, in the foreground, its files in the bench's folder. */
export function nginxHead(dir: string, name: string): string {
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  const temps = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${dir}/${name}-${kind};`,
  );
  return `daemon off; ${user} worker_processes 1; pid ${dir}/${name}.pid; error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off; ${temps.join(' ')}
  keepalive_requests 1000000000; keepalive_timeout 300s; client_max_body_size 0;`;
}

function nginxConfig(upstream: Omit<Upstream, 'child'>, sinkPort: number): string {
  return `${nginxHead(upstream.dir, 'upstream')}
  sendfile on; tcp_nodelay on; map_hash_bucket_size 512;
  server { listen 127.0.0.1:${sinkPort}; return 200 '${UPLOADED}'; }
  map "$http_host $http_authorization" $allowed { default 0; "${upstream.authority} Bearer ${SECRET}" 1; }
  server {
    listen 127.0.0.1:${upstream.port} ssl; listen [::1]:${upstream.port} ssl;
    ssl_certificate ${upstream.certFile}; ssl_certificate_key ${upstream.keyFile};
    ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_ecdh_curve X25519:prime256v1;
    ssl_session_cache shared:upstream:1m;
    default_type application/json;
    if ($allowed = 0) { return 421; }
    location = /small { return 200 '${SMALL}'; }
    location = /download { root ${upstream.dir}/www; default_type application/octet-stream; }
    # The whole body is read (into memory) before another server gives the answer without it.
    location = /upload {
      client_body_buffer_size 110m; proxy_pass http://127.0.0.1:${sinkPort};
      proxy_pass_request_body off; proxy_set_header Content-Length "";
    }
  }
}
`;
}

function writeCertificates(upstream: Omit<Upstream, 'child'>): void {
  const validity = { notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 86_400_000) };
  const root = generateP256();
  const issuer = { commonName: 'Bench CA', privateKey: root.privateKey };
  const ca = issueCertificate({
    commonName: 'Bench CA',
    publicKey: root.publicKey,
    ...validity,
    issuer,
    ca: { pathLength: 0 },
  });
  const keys = generateP256();
  const leaf = issueCertificate({
    commonName: HOST,
    dnsNames: [HOST],
    usages: ['serverAuth'],
    publicKey: keys.publicKey,
    ...validity,
    issuer,
  });
  const key = keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  writeFileSync(upstream.caFile, toPem(ca.der));
  writeFileSync(upstream.certFile, toPem(leaf.der));
  writeFileSync(upstream.keyFile, key, { mode: 0o600 });
  writeFileSync(upstream.bundleFile, toPem(leaf.der) + key, { mode: 0o600 });
}

/** Random bytes, so that whoever looks through them for a secret has the usual work. */
function writeDownload(path: string): void {
  const block = randomBytes(1_000_000);
  const file = openSync(path, 'w');
  for (let written = 0; written < TRANSFER_BYTES; written += block.length) writeSync(file, block);
  closeSync(file);
}

/** A loopback port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
