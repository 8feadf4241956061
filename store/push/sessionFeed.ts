import type { Grant } from '../../api/grant.ts';
import type { SessionEvent } from '../../api/protocol.ts';
import type { Session } from '../../api/session.ts';
import type { State } from '../state.ts';
import type { NdjsonStream } from './ndjsonStream.ts';

/** What one reader has been told, and the difference to what holds now: only that travels. */
export class SessionFeed {
  readonly session: Session;
  readonly stream: NdjsonStream;
  readonly #state: State;
  /** Integration → its grant as it was sent. */
  readonly #sent = new Map<string, { json: string; credential: string }>();
  readonly #versions = new Map<string, number>();

  constructor(session: Session, stream: NdjsonStream, state: State) {
    this.session = session;
    this.stream = stream;
    this.#state = state;
    const grants = state.grantsOf(session);
    for (const grant of grants) this.#remember(grant);
    for (const { credential } of grants) this.#versions.set(credential, state.versionOf(credential));
    this.#send({ type: 'snapshot', grants, versions: Object.fromEntries(this.#versions) });
  }

  /** Looks again at what a change may have touched. A grant is told before the version of its credential. */
  update(integrations: Iterable<string>, credentials: Iterable<string>): void {
    const touched = new Set(credentials);
    for (const integration of integrations) {
      const grant = this.#state.grant(this.session, integration);
      const before = this.#sent.get(integration);
      if (before !== undefined) touched.add(before.credential);
      if (grant !== undefined) touched.add(grant.credential);
      if (grant === undefined && before !== undefined) {
        this.#sent.delete(integration);
        this.#send({ type: 'revoke', integration });
      } else if (grant !== undefined && this.#remember(grant) !== before?.json) {
        this.#send({ type: 'grant', grant });
      }
    }
    for (const credential of touched) this.#updateVersion(credential);
  }

  #updateVersion(credential: string): void {
    if (![...this.#sent.values()].some((sent) => sent.credential === credential)) {
      this.#versions.delete(credential);
      return;
    }
    const version = this.#state.versionOf(credential);
    if (this.#versions.get(credential) === version) return;
    this.#versions.set(credential, version);
    this.#send({ type: 'version', credential, version });
  }

  #remember(grant: Grant): string {
    const json = JSON.stringify(grant);
    this.#sent.set(grant.integration, { json, credential: grant.credential });
    return json;
  }

  #send(event: SessionEvent): void {
    this.stream.send(event);
  }
}
