import type { Clock } from '../../lib/clock.ts';
import { activeIntermediate } from './caState.ts';
import type { CertificateAuthority } from './certificateAuthority.ts';

const LIFETIME_MS = 24 * 3_600_000;

/** The certificate of the store's own listener, issued anew at half of its life, when the clock has left it behind, or when another CA issues. */
export class ServerLeaf {
  keyPem = '';
  certificatePem = '';
  readonly #ca: CertificateAuthority;
  readonly #clock: Clock;
  readonly #spiffeId: string;
  #issuedAtMs = 0;
  #issuer = '';

  constructor(options: { ca: CertificateAuthority; clock: Clock; trustDomain: string }) {
    this.#ca = options.ca;
    this.#clock = options.clock;
    this.#spiffeId = `spiffe://${options.trustDomain}/sidekey/store`;
    this.renew();
  }

  /** What clients are verified against. */
  get trustBundlePem(): string {
    return this.#ca.trustBundlePem;
  }

  /** Whether there is a new one now. */
  renew(): boolean {
    const nowMs = this.#clock.nowMs();
    const ageMs = nowMs - this.#issuedAtMs;
    const issuer = activeIntermediate(this.#ca.state).id;
    if (ageMs >= 0 && ageMs < LIFETIME_MS / 2 && issuer === this.#issuer) return false;
    const { keyPem, certificatePem } = this.#ca.issueServer(this.#spiffeId, LIFETIME_MS);
    this.keyPem = keyPem;
    this.certificatePem = certificatePem;
    this.#issuedAtMs = nowMs;
    this.#issuer = issuer;
    return true;
  }
}
