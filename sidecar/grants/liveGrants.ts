import { setTimeout as delay } from 'node:timers/promises';
import type { Grant } from '../../api/grant.ts';
import type { RevokedGrant, SessionEvent } from '../../api/protocol.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { type LeaseSource, Leases } from './leases.ts';
import { GrantTable } from './table.ts';
import { WaitingRoom } from './waitingRoom.ts';

/** Leases fetched before anything asks for them, so that the first request is fast. */
const PREFETCH_LIMIT = 8;

export interface LiveGrantsOptions {
  clock: Clock;
  log: Logger;
  /** Where leases come from: the store. */
  source: LeaseSource;
  /** Longest that a request waits for the first grants; 0: not at all. */
  waitMs?: number;
}

type IntegrationListener = (integration: string) => void;
type VersionListener = (credential: string, version: number) => void;

/** What this session may use now, as the store's events tell it: the table for decisions, and the leases. */
export class LiveGrants {
  readonly leases: Leases;
  readonly #log: Logger;
  readonly #grants = new Map<string, Grant>();
  /** Integration → what would be granted if a revocation did not stand: requests to its hosts are refused, not passed through. */
  readonly #revoked = new Map<string, RevokedGrant>();
  readonly #revokedListeners = new Set<IntegrationListener>();
  readonly #changedListeners = new Set<IntegrationListener>();
  readonly #versionListeners = new Set<VersionListener>();
  readonly #waiting: WaitingRoom;
  #table = GrantTable.empty;
  readonly #settled = Promise.withResolvers<void>();
  #ready = false;
  #ended: string | undefined;
  #unadmitted: string | undefined;

  constructor(options: LiveGrantsOptions) {
    this.#log = options.log;
    this.leases = new Leases(options);
    this.#waiting = new WaitingRoom(options.waitMs ?? 0);
  }

  /** Compiled anew at each change; take it once per request. */
  get table(): GrantTable {
    return this.#table;
  }

  /** Whether the first snapshot has arrived. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Resolves when the first snapshot has arrived or the session is over, at the latest after `limitMs`. */
  settled(limitMs: number): Promise<void> {
    return Promise.race([this.#settled.promise, delay(limitMs, undefined, { ref: false })]);
  }

  /** Whether a request can be decided on now, be it that all are refused; otherwise it may `wait`. */
  get known(): boolean {
    return this.#ready || this.#ended !== undefined || this.#unadmitted !== undefined;
  }

  /** Calls back once `known`, or late enough; not at all, returning undefined, where too many wait. Returns how to call it off. */
  wait(callback: () => void): (() => void) | undefined {
    return this.#waiting.enter(callback);
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Why the session is over, if it is: each request is then refused as Revoked. */
  get ended(): string | undefined {
    return this.#ended;
  }

  /** Why there has been no session yet, where the store has said so. */
  get unadmitted(): string | undefined {
    return this.#unadmitted;
  }

  /** Told of each Integration that this session may not use any more: what runs under it is cut. Returns how to stop listening. */
  onRevoked(listener: IntegrationListener): () => void {
    this.#revokedListeners.add(listener);
    return () => this.#revokedListeners.delete(listener);
  }

  /** Told of each Integration that may say something else than before: what runs under it may not be allowed any more. Returns how to stop listening. */
  onChanged(listener: IntegrationListener): () => void {
    this.#changedListeners.add(listener);
    return () => this.#changedListeners.delete(listener);
  }

  /** Told when another version of a credential is in force (0: none): idle connections of the one before can go. */
  onVersion(listener: VersionListener): () => void {
    this.#versionListeners.add(listener);
    return () => this.#versionListeners.delete(listener);
  }

  /** Takes in one event of the store. */
  apply(event: SessionEvent): void {
    if (this.#ended !== undefined) return;
    switch (event.type) {
      case 'snapshot':
        this.#replace(event.grants, event.versions, event.revoked ?? []);
        break;
      case 'grant':
        this.#grant(event.grant);
        break;
      case 'revoke':
        this.#revoke([event.integration], event.revoked === undefined ? [] : [event.revoked]);
        break;
      case 'lease-revoked':
        this.#revokeLease(event.lease);
        break;
      case 'version':
        this.#version(event.credential, event.version);
        break;
      case 'end':
        this.end(event.reason);
        break;
      case 'heartbeat':
      case 'renew':
        break;
    }
  }

  /** The session is over: everything is given up, and every request refused unless another one begins. */
  end(reason: string): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#settled.resolve();
    this.#log.warn({ reason }, 'the session has ended; every request is refused from now on');
    this.#forget();
    this.#waiting.open();
  }

  /** The session is lost, and another one is asked for: everything is given up, and requests wait. */
  lose(): void {
    this.#forget();
  }

  /** The store does not take this sidecar, and never has: requests need not wait. */
  refuse(reason: string): void {
    this.#unadmitted = reason;
    this.#waiting.open();
  }

  /** A session begins, of which nothing is known yet. */
  begin(): void {
    this.#ended = undefined;
    this.#unadmitted = undefined;
    this.#ready = false;
  }

  /** For good. */
  close(): void {
    this.leases.end();
    this.#waiting.open();
  }

  #forget(): void {
    this.#ready = false;
    this.#revoked.clear();
    this.leases.grant(new Set());
    this.#revoke([...this.#grants.keys()], []);
  }

  #replace(
    grants: readonly Grant[],
    versions: Readonly<Record<string, number>>,
    revoked: readonly RevokedGrant[],
  ): void {
    const gone = new Set(this.#grants.keys());
    const kept: string[] = [];
    this.#revoked.clear();
    for (const grant of grants) {
      if (gone.delete(grant.integration)) kept.push(grant.integration);
      this.#grants.set(grant.integration, grant);
    }
    this.#revoke([...gone], revoked);
    for (const integration of kept) this.#tell(this.#changedListeners, integration);
    for (const [credential, version] of Object.entries(versions)) this.#version(credential, version);
    if (!this.#ready) {
      this.#ready = true;
      this.#settled.resolve();
      this.#waiting.open();
      const usable = Object.keys(versions).filter((credential) => versions[credential] !== 0);
      for (const credential of usable.slice(0, PREFETCH_LIMIT)) this.leases.prefetch(credential);
    }
    this.#log.info({ grants: grants.length }, 'the grants of this session are known');
  }

  #grant(grant: Grant): void {
    this.#revoked.delete(grant.integration);
    this.#grants.set(grant.integration, grant);
    this.#compile();
    this.#log.info({ integration: grant.integration }, 'an Integration was granted or changed');
    this.#tell(this.#changedListeners, grant.integration);
  }

  /** The table first, so that nothing new starts; then what runs. */
  #revoke(integrations: readonly string[], revoked: readonly RevokedGrant[]): void {
    for (const integration of integrations) {
      this.#grants.delete(integration);
      this.#revoked.delete(integration);
    }
    for (const one of revoked) this.#revoked.set(one.grant.integration, one);
    this.#compile();
    for (const integration of integrations) {
      this.#log.info({ integration, by: this.#revoked.get(integration)?.by }, 'an Integration was revoked');
      this.#tell(this.#revokedListeners, integration);
    }
  }

  #revokeLease(id: string): void {
    const credential = this.leases.revokeLease(id);
    this.#log.info({ lease: id, credential }, 'a lease was revoked');
    if (credential === undefined) return;
    for (const grant of this.#grants.values())
      if (grant.credential === credential) this.#tell(this.#revokedListeners, grant.integration);
  }

  #tell(listeners: ReadonlySet<IntegrationListener>, integration: string): void {
    for (const listener of [...listeners]) this.#guard(() => listener(integration));
  }

  #version(credential: string, version: number): void {
    if (!this.leases.version(credential, version)) return;
    for (const listener of [...this.#versionListeners]) this.#guard(() => listener(credential, version));
  }

  #compile(): void {
    const grants = [...this.#grants.values()];
    const revoked = [...this.#revoked.values()];
    this.#table = GrantTable.compile([...grants, ...revoked.map(({ grant }) => grant)], this.#table);
    this.leases.grant(new Set(grants.map(({ credential }) => credential)), {
      single: new Set(grants.filter(({ single }) => single).map(({ credential }) => credential)),
      revoked: new Map(revoked.map(({ grant, by }) => [grant.credential, by])),
    });
  }

  /** One listener's failure must not keep others from hearing of a revocation. */
  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#log.error({ error: error instanceof Error ? error.message : 'unknown' }, 'a listener to the grants failed');
    }
  }
}
