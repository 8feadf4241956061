import type { ObjectEvent, SessionEvent } from '../../api/protocol.ts';
import type { Session } from '../../api/session.ts';
import { namespaceOf } from '../grants.ts';
import type { Change, RevocationRow } from '../persist/repository.ts';
import type { State } from '../state.ts';
import type { Audience } from './audience.ts';
import { Audiences } from './audiences.ts';
import { Heartbeats } from './heartbeats.ts';
import type { NdjsonStream } from './ndjsonStream.ts';
import { SessionFeed } from './sessionFeed.ts';

/** Readers that are told in one turn of the event loop: in between, requests get theirs. */
const TURN_LIMIT = 128;

export interface HubOptions {
  state: State;
  streamsPerSession: number;
  /** Told how long after its commit a change was on its way to a reader. */
  pushed?: ((ms: number) => void) | undefined;
}

/** All open event streams: tells each what a commit changed for it. */
export class Hub {
  readonly #o: HubOptions;
  readonly #audiences: Audiences;
  readonly #feeds = new Map<string, SessionFeed[]>();
  readonly #operators = new Set<NdjsonStream>();
  readonly #heartbeats = new Heartbeats();
  /** Readers that may not have been told all, and since when; the one whose turn it is first. */
  readonly #due = new Map<SessionFeed, number>();
  #telling = false;

  constructor(options: HubOptions) {
    this.#o = options;
    this.#audiences = new Audiences(options.state);
  }

  /** Whether a sidecar of the session listens now. */
  connected(session: Session): boolean {
    return this.#feeds.has(session.id);
  }

  /** How many streams are open. */
  count(): { session: number; operator: number } {
    let session = 0;
    for (const feeds of this.#feeds.values()) session += feeds.length;
    return { session, operator: this.#operators.size };
  }

  /** `cursor`: what the reader saw last, if it can resume; empty if it has seen nothing. */
  openSession(session: Session, stream: NdjsonStream, cursor?: string): void {
    const feed = new SessionFeed({ session, stream, audience: this.#audiences.of(session), cursor });
    const feeds = this.#feeds.get(session.id) ?? [];
    feeds.push(feed);
    this.#feeds.set(session.id, feeds);
    this.#audiences.join(feed);
    this.#heartbeats.add(stream);
    // One that lost its connection comes back before we notice: the newest are the living ones.
    if (feeds.length > this.#o.streamsPerSession) feeds[0]!.stream.end();
    if (stream.closed) this.#drop(session.id, stream);
    else stream.onClose(() => this.#drop(session.id, stream));
    for (const event of this.#revokedLeases(session)) stream.send(event);
  }

  /** What a stream of the session would begin with. */
  snapshot(session: Session, cursor?: string): Buffer {
    const leases = this.#revokedLeases(session).map((event) => Buffer.from(`${JSON.stringify(event)}\n`));
    return Buffer.concat([this.#audiences.of(session).open(cursor).lines, ...leases]);
  }

  openOperator(stream: NdjsonStream): void {
    this.#operators.add(stream);
    this.#heartbeats.add(stream);
    stream.onClose(() => this.#operators.delete(stream));
    stream.send({ type: 'ready' } satisfies ObjectEvent);
  }

  changed(changes: readonly Change[]): void {
    const integrations = new Set<string>();
    const credentials = new Set<string>();
    // Nothing that sidecars are told.
    const used: string[] = [];
    for (const change of changes) {
      if (change.kind === 'integration') integrations.add(change.key);
      if (change.kind === 'material') credentials.add(change.key);
      if (change.kind === 'uses') used.push(change.uses.credential);
      if (change.kind === 'credential') {
        credentials.add(change.key);
        for (const { key } of this.#o.state.integrationsOf(change.key)) integrations.add(key);
      }
      if (change.kind === 'session' && change.endReason !== undefined) this.#end(change.session, change.endReason);
      else if (change.kind === 'session') this.#move(change.session);
      if (change.kind === 'revocation') this.#revocation(change.revocation);
    }
    for (const namespace of this.#namespacesOf(integrations, credentials)) {
      for (const audience of this.#audiences.in(namespace)) this.#update(audience, integrations, credentials);
    }
    this.#tellOperators(new Set([...credentials, ...used]));
  }

  /** Looks again at everything that is granted to anybody. */
  recheck(): void {
    for (const audience of this.#audiences) this.#update(audience, audience.integrations, []);
  }

  /** Asks everybody for a new certificate within that time. */
  renewAll(withinSeconds: number): void {
    for (const stream of this.#streams())
      stream.send({ type: 'renew', withinSeconds } satisfies SessionEvent & ObjectEvent);
  }

  /** Ends all streams; the sessions live on. */
  close(): void {
    this.#heartbeats.close();
    this.endStreams();
  }

  /** Their readers come back, here or at another replica. */
  endStreams(): void {
    for (const stream of this.#streams()) stream.end();
  }

  #update(audience: Audience, integrations: Iterable<string>, credentials: Iterable<string>): void {
    if (!audience.update(integrations, credentials)) return;
    const nowMs = performance.now();
    for (const feed of this.#audiences.feedsOf(audience)) if (!this.#due.has(feed)) this.#due.set(feed, nowMs);
    if (this.#telling || this.#due.size === 0) return;
    this.#telling = true;
    setImmediate(() => this.#tell());
  }

  /** Tells some of those who have not been told, and the rest in the next turn. */
  #tell(): void {
    let told = 0;
    for (const [feed, sinceMs] of this.#due) {
      if (told === TURN_LIMIT) break;
      this.#due.delete(feed);
      if (!feed.advance()) continue;
      told += 1;
      this.#o.pushed?.(performance.now() - sinceMs);
    }
    this.#telling = this.#due.size > 0;
    if (this.#telling) setImmediate(() => this.#tell());
  }

  /** Where sessions may be told something. */
  #namespacesOf(integrations: Iterable<string>, credentials: Iterable<string>): Set<string> {
    const namespaces = new Set<string>();
    for (const key of integrations) namespaces.add(namespaceOf(key));
    for (const credential of credentials) {
      for (const { key } of this.#o.state.integrationsOf(credential)) namespaces.add(namespaceOf(key));
    }
    return namespaces;
  }

  #tellOperators(credentials: Iterable<string>): void {
    if (this.#operators.size === 0) return;
    for (const key of credentials) {
      const credential = this.#o.state.stored(key);
      if (credential === undefined) continue;
      for (const stream of this.#operators) stream.send({ type: 'credential', credential } satisfies ObjectEvent);
    }
  }

  /** `undefined`: one was lifted. */
  #revocation(row: RevocationRow | undefined): void {
    const { selector, session = '' } = row ?? {};
    if (selector === undefined || !('lease' in selector)) this.recheck();
    else for (const { stream } of this.#feeds.get(session) ?? []) stream.send(leaseRevoked(selector.lease));
  }

  /** Told to whoever comes back as well: it may have been missed. */
  #revokedLeases(session: Session): SessionEvent[] {
    return [...this.#o.state.revocations.leasesOf(session.id)].map(leaseRevoked);
  }

  #end(session: Session, reason: string): void {
    for (const feed of this.#feeds.get(session.id) ?? []) {
      feed.advance();
      feed.stream.end({ type: 'end', reason });
    }
  }

  #streams(): NdjsonStream[] {
    return [...[...this.#feeds.values()].flat().map((feed) => feed.stream), ...this.#operators];
  }

  /** The session's labels are others: its readers belong to another audience, and are told all that it is told. */
  #move(session: Session): void {
    const feeds = this.#feeds.get(session.id);
    if (feeds === undefined) return;
    const audience = this.#audiences.of(session);
    const moved = feeds.map((feed) => {
      if (feed.audience === audience) return feed;
      this.#audiences.leave(feed);
      this.#due.delete(feed);
      const next = new SessionFeed({ session, stream: feed.stream, audience, cursor: feed.cursors ? '' : undefined });
      this.#audiences.join(next);
      return next;
    });
    this.#feeds.set(session.id, moved);
  }

  #drop(session: string, stream: NdjsonStream): void {
    const left: SessionFeed[] = [];
    for (const feed of this.#feeds.get(session) ?? []) {
      if (feed.stream === stream) {
        this.#audiences.leave(feed);
        this.#due.delete(feed);
      } else left.push(feed);
    }
    if (left.length === 0) this.#feeds.delete(session);
    else this.#feeds.set(session, left);
  }
}

function leaseRevoked(lease: string): SessionEvent {
  return { type: 'lease-revoked', lease };
}
