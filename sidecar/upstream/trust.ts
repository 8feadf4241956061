import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, getCACertificates, rootCertificates, type SecureContext } from 'node:tls';
import { CodedError, errorText } from '../../lib/errors.ts';
import { TLS_DEFAULTS } from '../../lib/tls.ts';

/** Where Linux distributions keep their roots, as Go looks for them; reading one takes a sixtieth of asking OpenSSL for them. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** CAs besides the system's: a file of them, or their PEM and what that came from. */
export type ExtraCa = string | { readonly from: string; readonly pem: string };

/**
 * PEM of what upstreams are verified against: the extra CAs, then the roots of this machine, or of `SSL_CERT_FILE` if that is
 * set, or Mozilla's as Node carries them if the machine has none.
 *
 * @throws ExtraCaInvalid, or the file system's error for a file that was named and cannot be read.
 */
export function trustedRootsPem(extraCa?: ExtraCa, env: NodeJS.ProcessEnv = process.env): string {
  const system = env.SSL_CERT_FILE ? readFileSync(env.SSL_CERT_FILE, 'latin1') : systemRootsPem();
  return extraCa === undefined ? system : `${checkedCaPem(extraCa)}\n${system}`;
}

function systemRootsPem(): string {
  // The keychain, of which no file has all.
  if (process.platform === 'darwin') return getCACertificates('system').join('\n');
  for (const file of SYSTEM_BUNDLES) {
    try {
      return readFileSync(file, 'latin1');
    } catch {
      // The next one.
    }
  }
  return rootCertificates.join('\n');
}

/** OpenSSL takes garbage for an empty list, so a mistake would show as upstreams that do not verify. */
function checkedCaPem(extraCa: ExtraCa): string {
  const { from, pem } = typeof extraCa === 'string' ? { from: extraCa, pem: readFileSync(extraCa, 'latin1') } : extraCa;
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new CodedError('ExtraCaInvalid', `${from} has no certificate in PEM format`);
  for (const block of blocks) {
    try {
      new X509Certificate(block);
    } catch (error) {
      throw new CodedError('ExtraCaInvalid', `${from} has a certificate that cannot be read: ${errorText(error)}`);
    }
  }
  return blocks.join('\n');
}

/** The one TLS client context of the sidecar: `rootsPem` and nothing else is trusted. Made when first needed, for it takes milliseconds. */
export function trustContext(rootsPem: string): () => SecureContext {
  let context: SecureContext | undefined;
  return () => {
    // As in Go and curl, an intermediate CA may be the anchor: what companies hand out as their CA often is one.
    context ??= createSecureContext({ ...TLS_DEFAULTS, ca: rootsPem, allowPartialTrustChain: true });
    return context;
  };
}
