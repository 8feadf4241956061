import { CodedError } from '../../lib/errors.ts';
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

/** The store is sealed. Where it starts so, `open` tells whether the reason is gone. */
export class StoreSealed extends CodedError<'StoreSealed'> {
  readonly reason: SealReason;
  /** Looks again: the reason that there is now, undefined when there is none. */
  readonly look: () => Promise<SealReason | undefined>;

  constructor(reason: SealReason, look: () => Promise<SealReason | undefined>) {
    super('StoreSealed', `The store is sealed: ${reason.message} It goes on by itself then.`);
    this.reason = reason;
    this.look = look;
  }
}
