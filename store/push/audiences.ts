import type { Session } from '../../api/session.ts';
import type { State } from '../state.ts';
import { Audience, audienceKey } from './audience.ts';
import type { SessionFeed } from './sessionFeed.ts';

/** Audiences without a reader that are kept up to date, for those that come back. */
const EMPTY_LIMIT = 1_024;

/** The audiences that there are, by namespace, with their readers. */
export class Audiences {
  readonly #state: State;
  readonly #all = new Map<string, { audience: Audience; feeds: Set<SessionFeed> }>();
  readonly #byNamespace = new Map<string, Set<Audience>>();
  /** Those without a reader, the one that is longest so first. */
  readonly #empty = new Set<Audience>();

  constructor(state: State) {
    this.#state = state;
  }

  of(session: Session): Audience {
    return this.#all.get(audienceKey(session))?.audience ?? this.#add(new Audience(session, this.#state));
  }

  in(namespace: string): Iterable<Audience> {
    return this.#byNamespace.get(namespace) ?? [];
  }

  *[Symbol.iterator](): Iterator<Audience> {
    for (const { audience } of this.#all.values()) yield audience;
  }

  feedsOf(audience: Audience): ReadonlySet<SessionFeed> {
    return this.#all.get(audience.key)?.feeds ?? new Set();
  }

  join(feed: SessionFeed): void {
    this.#all.get(feed.audience.key)?.feeds.add(feed);
    this.#empty.delete(feed.audience);
  }

  leave(feed: SessionFeed): void {
    const { audience } = feed;
    const known = this.#all.get(audience.key);
    if (known === undefined || !known.feeds.delete(feed) || known.feeds.size > 0) return;
    this.#empty.add(audience);
    for (const longest of this.#empty) {
      if (this.#empty.size <= EMPTY_LIMIT) break;
      this.#remove(longest);
    }
  }

  #add(audience: Audience): Audience {
    this.#all.set(audience.key, { audience, feeds: new Set() });
    const others = this.#byNamespace.get(audience.namespace) ?? new Set();
    this.#byNamespace.set(audience.namespace, others.add(audience));
    return audience;
  }

  #remove(audience: Audience): void {
    this.#empty.delete(audience);
    this.#all.delete(audience.key);
    const others = this.#byNamespace.get(audience.namespace);
    others?.delete(audience);
    if (others?.size === 0) this.#byNamespace.delete(audience.namespace);
  }
}
