import { CodedError } from '../../lib/errors.ts';
import { STORE_ERRORS } from '../errors.ts';
import { KEK_HELP, type KekError } from './kek.ts';

/** Why a store gives out nothing that needs keys. */
export interface SealReason {
  code: KekError['code'];
  /** What happened, and what to do so that the store leaves this state by itself. */
  message: string;
}

export function sealReason({ code, message }: KekError): SealReason {
  return { code, message: `${message}. ${KEK_HELP[code]}` };
}

/** The store is sealed. Its message goes to sidecars too, so where the keys are is in the reason alone, for the owner and the log. */
export class StoreSealed extends CodedError<'StoreSealed'> {
  readonly reason: SealReason;
  /** Looks again: the reason that there is now, undefined when there is none. */
  readonly look: () => Promise<SealReason | undefined>;

  constructor(reason: SealReason, look: () => Promise<SealReason | undefined>) {
    super('StoreSealed', STORE_ERRORS.StoreSealed.help, { cause: new Error(reason.message) });
    this.reason = reason;
    this.look = look;
  }
}
