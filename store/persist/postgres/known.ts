import type { Session } from '../../../api/session.ts';
import type { Snapshot } from '../repository.ts';
import type { LoggedChange } from './changes.ts';

/** What has been told of, so that after a gap in the log the difference can be told. */
export class Known {
  readonly #credentials = new Set<string>();
  readonly #materials = new Set<string>();
  readonly #integrations = new Set<string>();
  readonly #revocations = new Set<string>();
  readonly #sessions = new Map<string, Session>();

  constructor(snapshot?: Snapshot) {
    for (const { key } of snapshot?.credentials ?? []) this.#credentials.add(key);
    for (const { credential } of snapshot?.materials ?? []) this.#materials.add(credential);
    for (const { key } of snapshot?.integrations ?? []) this.#integrations.add(key);
    for (const { id } of snapshot?.revocations ?? []) this.#revocations.add(id);
    for (const session of snapshot?.sessions ?? []) this.#sessions.set(session.id, session);
  }

  told(change: LoggedChange): void {
    if (change.kind === 'credential') note(this.#credentials, change.key, change.record);
    else if (change.kind === 'material') note(this.#materials, change.key, change.head);
    else if (change.kind === 'integration') note(this.#integrations, change.key, change.record);
    else if (change.kind === 'revocation') note(this.#revocations, change.id, change.revocation);
    else if (change.kind === 'session') {
      if (change.endReason === undefined) this.#sessions.set(change.session.id, change.session);
      else this.#sessions.delete(change.session.id);
    }
  }

  /** Changes that lead from what was told to the snapshot: what is gone, then everything that is there. */
  changesTo(snapshot: Snapshot, metaNames: readonly string[]): LoggedChange[] {
    const now = new Known(snapshot);
    return [
      ...[...this.#sessions.values()]
        .filter(({ id }) => !now.#sessions.has(id))
        .map((session): LoggedChange => ({ kind: 'session', session, endReason: 'it ended elsewhere' })),
      ...missing(this.#integrations, now.#integrations, (key) => ({ kind: 'integration', key, record: undefined })),
      ...missing(this.#materials, now.#materials, (key) => ({ kind: 'material', key, head: undefined })),
      ...missing(this.#credentials, now.#credentials, (key) => ({ kind: 'credential', key, record: undefined })),
      ...missing(this.#revocations, now.#revocations, (id) => ({ kind: 'revocation', id, revocation: undefined })),
      ...snapshot.revocations.map((row): LoggedChange => ({ kind: 'revocation', id: row.id, revocation: row })),
      ...snapshot.sessions
        .filter((session) => JSON.stringify(this.#sessions.get(session.id)) !== JSON.stringify(session))
        .map((session): LoggedChange => ({ kind: 'session', session })),
      ...snapshot.identities.map((identity): LoggedChange => ({ kind: 'identity', identity })),
      ...snapshot.credentials.map((object): LoggedChange => ({ kind: 'credential', ...object })),
      ...snapshot.materials.map((head): LoggedChange => ({ kind: 'material', key: head.credential, head })),
      ...snapshot.integrations.map((object): LoggedChange => ({ kind: 'integration', ...object })),
      ...metaNames.map((name): LoggedChange => ({ kind: 'meta', name })),
    ];
  }
}

function note(set: Set<string>, key: string, value: unknown): void {
  if (value === undefined) set.delete(key);
  else set.add(key);
}

function missing(before: Set<string>, now: Set<string>, change: (key: string) => LoggedChange): LoggedChange[] {
  return [...before].filter((key) => !now.has(key)).map(change);
}
