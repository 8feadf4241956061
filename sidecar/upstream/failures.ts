import { errorCode } from '../../lib/errors.ts';
import { type Refusal, refuse } from '../errors.ts';

/** The kernel is out of something of ours; the upstream may be well. */
const LOCAL_SHORTAGES: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL']);

/** What is wrong with a certificate, by the code that OpenSSL or Node gives it. */
const CERTIFICATE_FAULTS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'it has expired',
  CERT_NOT_YET_VALID: 'it is not valid yet',
  CERT_REVOKED: 'it was revoked',
  CERT_SIGNATURE_FAILURE: 'its signature is wrong',
  CERT_UNTRUSTED: 'its CA is not trusted for this',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it is self-signed',
  ERR_TLS_CERT_ALTNAME_INVALID: 'it is for another host',
  INVALID_CA: 'one of its issuers is no CA',
  INVALID_PURPOSE: 'it is not for servers',
  PATH_LENGTH_EXCEEDED: 'its chain is longer than an issuer allows',
  SELF_SIGNED_CERT_IN_CHAIN: 'its CA is not trusted here',
  UNABLE_TO_GET_ISSUER_CERT: 'its CA is not trusted here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its CA is not trusted here, or the server leaves out an intermediate certificate',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its CA is not trusted here, or the server leaves out an intermediate certificate',
};

/** A connection attempt that failed before TLS. `where` is what was dialled, for the agent to read. */
export function connectRefusal(where: string, error: Error | undefined): Refusal {
  const codes = error instanceof AggregateError ? error.errors.map(codeOf) : [codeOf(error)];
  if (codes.some((code) => LOCAL_SHORTAGES.has(code))) {
    return refuse('Overloaded', `no connection to ${where} could be opened (${unique(codes)})`, 1);
  }
  return refuse('UpstreamUnreachable', `no address of ${where} accepts a connection (${unique(codes)})`);
}

/** A TLS handshake that failed; `certificateFault` is what Node holds against the certificate, if that was it. */
export function handshakeRefusal(where: string, certificateFault: unknown, error: Error | undefined): Refusal {
  if (certificateFault) {
    const code = String(certificateFault);
    const fault = CERTIFICATE_FAULTS[code];
    return refuse(
      'UpstreamCertificateInvalid',
      `the certificate of ${where} does not verify: ${fault === undefined ? code : `${fault} (${code})`}`,
    );
  }
  return refuse('UpstreamUnreachable', `the TLS handshake with ${where} failed (${codeOf(error)})`);
}

function codeOf(error: unknown): string {
  return errorCode(error) ?? 'closed by the other side';
}

function unique(codes: readonly string[]): string {
  return [...new Set(codes)].join(', ');
}
