import { type Refusal, refuse } from '../errors.ts';
import { StoreFailure } from '../link/storeFailure.ts';

const RETRY_AFTER_SECONDS = 1;

/** A failed request for a lease as the agent hears of it: the store's code decides, its text stays here. */
export function leaseRefusal(credential: string, error: unknown): Refusal {
  const failure = error instanceof StoreFailure ? error : undefined;
  const retryAfterSeconds = failure?.retryAfterSeconds ?? RETRY_AFTER_SECONDS;
  switch (failure?.code) {
    case 'NotGranted':
    case 'IdentityRevoked':
      return refuse('Revoked', `the store does not grant credential ${credential} to this session any more`);
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
