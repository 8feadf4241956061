import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { storeErrorCode } from '../errors.ts';
import type { RateLimit } from '../rateLimit.ts';
import type { Audit } from './audit.ts';

export type RefusalKind = 'lease.refused' | 'join.refused' | 'renew.refused' | 'usage.refused' | 'request.refused';

/** Puts refusals on record; a flood of them gets a bounded number of entries, each telling how many it stands for. */
export class Refusals {
  readonly #audit: Audit;
  readonly #limit: RateLimit;
  readonly #log: Logger;
  #leftOut = 0;

  constructor(options: { audit: Audit; limit: RateLimit; log: Logger }) {
    this.#audit = options.audit;
    this.#limit = options.limit;
    this.#log = options.log;
  }

  /** Does not wait: a refusal needs no record to stand. `details` never hold material or tokens. */
  record(kind: RefusalKind, error: unknown, details: object): void {
    if (!this.#limit.take()) {
      this.#leftOut += 1;
      return;
    }
    const code = storeErrorCode(error) ?? 'InternalError';
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    this.#audit.record({ kind, code, ...details, ...(leftOut > 0 && { leftOut }) }).catch((failure: unknown) => {
      this.#leftOut += leftOut + 1;
      this.#log.warn({ error: errorText(failure) }, 'a refusal could not be put on record');
    });
  }
}
