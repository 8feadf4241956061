import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';

/**
 * What is wrong with a verified certificate for this host, or undefined: one of its subject alternative names must be the host.
 *
 * The common name does not count, and a wildcard stands for one whole label only (RFC 9525 sections 6.3 and 6.4).
 */
export function identityFault(host: string, certificateDer: Buffer): Error | undefined {
  const certificate = new X509Certificate(certificateDer);
  const name =
    isIP(host) === 0
      ? certificate.checkHost(host, { subject: 'never', partialWildcards: false })
      : certificate.checkIP(host);
  if (name !== undefined) return undefined;
  return Object.assign(new Error('the certificate is for another host'), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
}
