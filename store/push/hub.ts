import { HEARTBEAT_SECONDS, type ObjectEvent, type SessionEvent } from '../../api/protocol.ts';
import type { Session } from '../../api/session.ts';
import type { Change } from '../persist/repository.ts';
import type { State } from '../state.ts';
import type { NdjsonStream } from './ndjsonStream.ts';
import { SessionFeed } from './sessionFeed.ts';

/** All open event streams: tells each what a commit changed for it. */
export class Hub {
  readonly #state: State;
  readonly #streamsPerSession: number;
  readonly #feeds = new Map<string, SessionFeed[]>();
  readonly #operators = new Set<NdjsonStream>();
  readonly #heartbeat: NodeJS.Timeout;

  constructor(options: { state: State; streamsPerSession: number }) {
    this.#state = options.state;
    this.#streamsPerSession = options.streamsPerSession;
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_SECONDS * 1000).unref();
  }

  /** Whether a sidecar of the session listens now. */
  connected(session: Session): boolean {
    return this.#feeds.has(session.id);
  }

  openSession(session: Session, stream: NdjsonStream): void {
    const feed = new SessionFeed(session, stream, this.#state);
    const feeds = this.#feeds.get(session.id) ?? [];
    feeds.push(feed);
    this.#feeds.set(session.id, feeds);
    // One that lost its connection comes back before we notice: the newest are the living ones.
    if (feeds.length > this.#streamsPerSession) feeds[0]!.stream.end();
    if (stream.closed) this.#drop(feed);
    else stream.onClose(() => this.#drop(feed));
  }

  openOperator(stream: NdjsonStream): void {
    this.#operators.add(stream);
    stream.onClose(() => this.#operators.delete(stream));
    stream.send({ type: 'ready' } satisfies ObjectEvent);
  }

  changed(changes: readonly Change[]): void {
    const integrations = new Set<string>();
    const credentials = new Set<string>();
    for (const change of changes) {
      if (change.kind === 'integration') integrations.add(change.key);
      if (change.kind === 'material') credentials.add(change.key);
      if (change.kind === 'credential') {
        credentials.add(change.key);
        for (const { key } of this.#state.integrationsOf(change.key)) integrations.add(key);
      }
      if (change.kind === 'session' && change.endReason !== undefined) this.#end(change.session, change.endReason);
    }
    if (integrations.size > 0 || credentials.size > 0) {
      for (const feeds of this.#feeds.values()) for (const feed of feeds) feed.update(integrations, credentials);
    }
    for (const key of credentials) {
      const credential = this.#state.stored(key);
      if (credential === undefined) continue;
      for (const stream of this.#operators) stream.send({ type: 'credential', credential } satisfies ObjectEvent);
    }
  }

  /** Asks everybody for a new certificate within that time. */
  renewAll(withinSeconds: number): void {
    for (const stream of this.#streams())
      stream.send({ type: 'renew', withinSeconds } satisfies SessionEvent & ObjectEvent);
  }

  /** Ends all streams; the sessions live on. */
  close(): void {
    clearInterval(this.#heartbeat);
    this.endStreams();
  }

  /** Their readers come back, here or at another replica. */
  endStreams(): void {
    for (const stream of this.#streams()) stream.end();
  }

  #end(session: Session, reason: string): void {
    for (const feed of this.#feeds.get(session.id) ?? []) feed.stream.end({ type: 'end', reason });
  }

  #beat(): void {
    for (const stream of this.#streams()) stream.heartbeat();
  }

  #streams(): NdjsonStream[] {
    return [...[...this.#feeds.values()].flat().map((feed) => feed.stream), ...this.#operators];
  }

  #drop(feed: SessionFeed): void {
    const left = this.#feeds.get(feed.session.id)?.filter((other) => other !== feed) ?? [];
    if (left.length === 0) this.#feeds.delete(feed.session.id);
    else this.#feeds.set(feed.session.id, left);
  }
}
