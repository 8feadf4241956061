import { readFileSync } from 'node:fs';
import { createSecureContext, getCACertificates, rootCertificates, type SecureContext } from 'node:tls';
import { TLS_DEFAULTS } from '../../lib/tls.ts';

/** Where Linux distributions keep their roots, as Go looks for them; reading one is 60 times faster than asking OpenSSL for them. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** PEM of the roots that this machine trusts (`SSL_CERT_FILE` if it is set); Mozilla's, as Node carries them, where it has none. */
export function systemRootsPem(env: NodeJS.ProcessEnv = process.env): string {
  const files = env.SSL_CERT_FILE ? [env.SSL_CERT_FILE] : SYSTEM_BUNDLES;
  // On macOS the keychain counts, and no file has all of it.
  if (process.platform !== 'darwin' || env.SSL_CERT_FILE) {
    for (const file of files) {
      try {
        return readFileSync(file, 'latin1');
      } catch {
        // The next one, or Node's.
      }
    }
  }
  const found = process.platform === 'darwin' ? getCACertificates('system') : [];
  return (found.length > 0 ? found : rootCertificates).join('\n');
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
