import { type Refusal, refuse } from '../errors.ts';
import { CLOCK_SKEW, StoreFailure } from '../link/storeFailure.ts';

const RETRY_AFTER_SECONDS = 1;

/** A failed request for a lease as the agent hears of it: the store's code decides, its text stays here. */
export function leaseRefusal(credential: string, error: unknown): Refusal {
  const failure = error instanceof StoreFailure ? error : undefined;
  const retryAfterSeconds = failure?.retryAfterSeconds ?? RETRY_AFTER_SECONDS;
  switch (failure?.code) {
    case 'NotGranted':
    case 'IdentityRevoked':
      return refuse('Revoked', `the store does not grant credential ${credential} to this session any more`);
    case 'Revoked':
      return refuse('Revoked', `a revocation keeps credential ${credential} from this session; its owner can lift it`);
    case 'MaterialExpired':
      return refuse(
        'CredentialUnavailable',
        `credential ${credential} is older than its maxLifetime; its owner has to give it a new value`,
      );
    case 'UsesExhausted':
      return refuse(
        'CredentialUnavailable',
        `credential ${credential} was used as often as its maxUses allows; its owner has to give it a new value`,
      );
    case 'SidecarTooOld':
      return refuse('CredentialUnavailable', `this sidecar cannot use credential ${credential} now`, retryAfterSeconds);
    case CLOCK_SKEW:
      return refuse(
        'StoreUnavailable',
        `by the clock of this machine the certificate of the store is not valid, and no lease of credential ${credential} is held; set the clock`,
        retryAfterSeconds,
      );
    case 'MaterialMissing':
      return refuse('CredentialUnavailable', `credential ${credential} has no material yet`, retryAfterSeconds);
    case 'MaterialDamaged':
      return refuse('CredentialUnavailable', `the material of credential ${credential} must be set again`);
    case 'TooManyRequests':
    case 'Overloaded':
      return refuse('Overloaded', `the store takes no more lease requests of this session now`, retryAfterSeconds);
    default:
      return refuse(
        'StoreUnavailable',
        `the store does not answer, and no lease of credential ${credential} is held`,
        retryAfterSeconds,
      );
  }
}
