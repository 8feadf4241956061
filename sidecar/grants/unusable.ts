import { type Refusal, refuse } from '../errors.ts';
import type { LiveGrants } from './liveGrants.ts';

const RETRY_AFTER_SECONDS = 1;
/** The store is asked again every minute or so whether it takes this pod now. */
const UNADMITTED_RETRY_AFTER_SECONDS = 30;

/** Why nothing can be decided by these grants, or undefined if they are in force. */
export function unusableGrants(grants: LiveGrants): Refusal | undefined {
  if (grants.ended !== undefined) return refuse('Revoked', 'The session is over.');
  if (grants.ready) return undefined;
  return grants.unadmitted === undefined
    ? refuse('StoreUnavailable', 'The grants of this session are not known yet.', RETRY_AFTER_SECONDS)
    : refuse(
        'StoreUnavailable',
        `The store does not take this pod: ${grants.unadmitted}.`,
        UNADMITTED_RETRY_AFTER_SECONDS,
      );
}
