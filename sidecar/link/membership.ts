import type { LeaseRequest, SessionEvent, UsageReport } from '../../api/protocol.ts';
import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { IssuedLease } from '../grants/lease.ts';
import { EventStream } from './eventStream.ts';
import type { Identity } from './identity.ts';
import type { StoreClient } from './storeClient.ts';
import { StoreFailure, UNREACHABLE } from './storeFailure.ts';

export interface MembershipOptions {
  log: Logger;
  event: (event: SessionEvent) => void;
}

/** The session of this sidecar, whichever it has now: leases come and uses go by it, and its events are followed. */
export class Membership {
  readonly #o: MembershipOptions;
  #identity: Identity | undefined;
  #events: EventStream | undefined;

  constructor(options: MembershipOptions) {
    this.#o = options;
  }

  /** A session begins. `revoked`: it is over, or the store does not know it any more. */
  begin(identity: Identity, revoked: (reason: string) => void): void {
    this.#identity = identity;
    this.#events = new EventStream({
      replicas: identity.replicas,
      context: () => identity.context,
      event: (event) => {
        if (event.type === 'renew') identity.renewWithin(event.withinSeconds);
        else if (event.type === 'end') revoked(event.reason);
        else this.#o.event(event);
      },
      log: this.#o.log,
      revoked,
    });
  }

  /** There is none any more. */
  leave(): void {
    this.#events?.close();
    this.#identity?.close();
    this.#events = undefined;
    this.#identity = undefined;
  }

  /** Hears nothing more. */
  closeEvents(): void {
    this.#events?.close();
  }

  /** @throws StoreFailure */
  async lease(request: LeaseRequest): Promise<IssuedLease> {
    return this.#client().lease(request);
  }

  /** @throws StoreFailure */
  async report(report: UsageReport): Promise<void> {
    return this.#client().report(report);
  }

  /** Tells the store that the session is over, if it can. */
  async end(): Promise<void> {
    if (this.#identity === undefined) return;
    try {
      await this.#identity.client.endSession();
    } catch (error) {
      this.#o.log.warn(
        { error: errorText(error) },
        'the store was not told of the end of the session; it will see by itself',
      );
    }
  }

  #client(): StoreClient {
    if (this.#identity === undefined) throw new StoreFailure(UNREACHABLE, 'the store has not been joined');
    return this.#identity.client;
  }
}
