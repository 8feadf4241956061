import type { KeyObject } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { storeError } from '../errors.ts';
import type { Identities, Identity } from './identities.ts';

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
/** Errors of TLS verification that do not count: the identity has an end of its own, by a clock that does not jump. */
const TIME_ERRORS = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']);

/** What is kept of a certificate for as long as its connection lasts: all of it would be kilobytes. */
interface Checked {
  readonly fingerprint256: string;
  readonly subjectAltName: string | undefined;
}

/** Tells who is at the other end of a connection; certificates are examined once, their life and session at every call. */
export class Peers {
  readonly #identities: Identities;
  readonly #ca: { readonly issuers: readonly KeyObject[] };
  readonly #checked = new WeakMap<TLSSocket, Checked>();

  /** `ca.issuers` are the keys by which the leaf itself has to be signed, whatever chain came with it. */
  constructor(options: { identities: Identities; ca: { readonly issuers: readonly KeyObject[] } }) {
    this.#identities = options.identities;
    this.#ca = options.ca;
  }

  /** @throws NotAuthenticated, IdentityRevoked */
  identify(socket: TLSSocket): Identity {
    let certificate = this.#checked.get(socket);
    if (certificate === undefined) {
      certificate = this.#examine(socket);
      this.#checked.set(socket, certificate);
    }
    const identity = this.#identities.find(certificate.fingerprint256);
    if (identity === undefined) throw storeError('IdentityRevoked');
    if (certificate.subjectAltName !== `URI:${identity.spiffeId}`) {
      throw storeError(
        'NotAuthenticated',
        'The client certificate does not name exactly the identity it was issued for.',
      );
    }
    return identity;
  }

  #examine(socket: TLSSocket): Checked {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) throw storeError('NotAuthenticated');
    const failure = socket.authorized ? undefined : String(socket.authorizationError);
    if (
      (failure !== undefined && !TIME_ERRORS.has(failure)) ||
      !this.#ca.issuers.some((key) => certificate.verify(key))
    ) {
      throw storeError('NotAuthenticated', 'The client certificate was not issued by this store.');
    }
    if (certificate.ca || !certificate.keyUsage?.includes(CLIENT_AUTH)) {
      throw storeError('NotAuthenticated', 'The client certificate is not for client authentication.');
    }
    const { fingerprint256, subjectAltName } = certificate;
    return { fingerprint256, subjectAltName };
  }
}
