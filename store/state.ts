import type { Grant } from '../api/grant.ts';
import type { CredentialRecord, IntegrationRecord, RevokedGrant, StoredCredential } from '../api/protocol.ts';
import type { Session } from '../api/session.ts';
import type { Clock } from '../lib/clock.ts';
import { grantOf, grantsFor, type IntegrationObject, namespaceOf } from './grants.ts';
import { MaterialAges } from './material/ages.ts';
import { MaterialUses } from './material/uses.ts';
import type { Change, MaterialHead, RevocationRow, Snapshot } from './persist/repository.ts';
import { Standing } from './revocation/standing.ts';

/** What the database holds of desired state, in memory: follows each commit, and is what grants are computed from. */
export class State {
  readonly credentials = new Map<string, CredentialRecord>();
  readonly materials = new Map<string, MaterialHead>();
  readonly integrations = new Map<string, IntegrationRecord>();
  readonly revocations: Standing;
  readonly ages: MaterialAges;
  readonly uses = new MaterialUses();
  readonly #byNamespace = new Map<string, Map<string, IntegrationObject>>();
  readonly #byCredential = new Map<string, Map<string, IntegrationObject>>();

  constructor(snapshot: Omit<Snapshot, 'sessions' | 'identities'>, clock: Clock) {
    this.revocations = new Standing(snapshot.revocations);
    this.ages = new MaterialAges(clock);
    for (const { key, record } of snapshot.credentials) this.credentials.set(key, record);
    for (const head of snapshot.materials) this.materials.set(head.credential, head);
    for (const { key, record } of snapshot.integrations) this.#setIntegration(key, record);
  }

  apply(changes: readonly Change[]): void {
    this.revocations.apply(changes);
    for (const change of changes) {
      if (change.kind === 'credential') setOrDelete(this.credentials, change.key, change.record);
      else if (change.kind === 'material') {
        setOrDelete(this.materials, change.key, change.head);
        if (change.head !== undefined) this.ages.bornMs(change.head);
        else {
          this.ages.forget(change.key);
          this.uses.forget(change.key);
        }
      } else if (change.kind === 'uses') this.uses.counted(change.uses);
      else if (change.kind === 'integration') this.#setIntegration(change.key, change.record);
    }
  }

  /** The material that may be leased: none while another source than the Credential's has written it. */
  materialInForce(credential: string): MaterialHead | undefined {
    const head = this.materials.get(credential);
    return head !== undefined && head.origin === this.credentials.get(credential)?.source ? head : undefined;
  }

  /** 0: no material. */
  versionOf(credential: string): number {
    return this.materialInForce(credential)?.version ?? 0;
  }

  stored(key: string): StoredCredential | undefined {
    const record = this.credentials.get(key);
    if (record === undefined) return undefined;
    const head = this.materialInForce(key);
    const { maxLifetimeSeconds } = record;
    return {
      key,
      source: record.source,
      version: head?.version ?? 0,
      fields: head?.fields ?? [],
      ...(head !== undefined &&
        maxLifetimeSeconds !== undefined && {
          expiresAt: new Date(head.writtenAtMs + maxLifetimeSeconds * 1000).toISOString(),
        }),
      ...(head !== undefined && this.uses.usedUp(head, record) && { usedUp: true as const }),
    };
  }

  /** What the session may use. */
  grantsOf(session: Session): Grant[] {
    return this.#all(session).filter(({ credential }) => this.#takenBy(session, credential) === undefined);
  }

  /** What the session might use if revocations did not stand. */
  revokedOf(session: Session): RevokedGrant[] {
    return this.#all(session).flatMap((grant) => this.#revokedGrant(session, grant) ?? []);
  }

  /** Keys of the Integrations of a namespace. */
  integrationsIn(namespace: string): Iterable<string> {
    return this.#byNamespace.get(namespace)?.keys() ?? [];
  }

  /** What one Integration grants the session. */
  grant(session: Session, integration: string): Grant | undefined {
    const grant = this.#wouldGrant(session, integration);
    return grant === undefined || this.#takenBy(session, grant.credential) !== undefined ? undefined : grant;
  }

  /** What one Integration would grant the session if a revocation did not stand. */
  revoked(session: Session, integration: string): RevokedGrant | undefined {
    const grant = this.#wouldGrant(session, integration);
    return grant && this.#revokedGrant(session, grant);
  }

  /** What keeps the credential from the session, granted or not. */
  revokedBy(session: Session, credential: string): RevocationRow | undefined {
    return this.revocations.ofPod(session.pod?.uid) ?? this.#takenBy(session, credential);
  }

  /** The Integrations that refer to the credential. */
  integrationsOf(credential: string): IntegrationObject[] {
    return [...(this.#byCredential.get(credential)?.values() ?? [])];
  }

  /** An Integration by which the session may use the credential; a revocation may stand against that. */
  grantFor(session: Session, credential: string): Grant | undefined {
    const record = this.credentials.get(credential);
    for (const integration of this.#byCredential.get(credential)?.values() ?? []) {
      const grant = grantOf(session, integration, record);
      if (grant !== undefined) return grant;
    }
    return undefined;
  }

  #all(session: Session): Grant[] {
    return grantsFor(session, this.#byNamespace.get(session.namespace)?.values() ?? [], this.credentials);
  }

  #wouldGrant(session: Session, integration: string): Grant | undefined {
    const record = this.integrations.get(integration);
    if (record === undefined) return undefined;
    return grantOf(session, { key: integration, record }, this.credentials.get(record.credential));
  }

  #revokedGrant(session: Session, grant: Grant): RevokedGrant | undefined {
    const by = this.#takenBy(session, grant.credential);
    return by && { grant, by: by.id };
  }

  /** By what it has in common with others: the sessions of a pod that was revoked end. */
  #takenBy(session: Session, credential: string): RevocationRow | undefined {
    return this.revocations.ofSubject(session) ?? this.revocations.ofCredential(credential);
  }

  #setIntegration(key: string, record: IntegrationRecord | undefined): void {
    const before = this.integrations.get(key);
    if (before !== undefined) {
      this.#byNamespace.get(namespaceOf(key))?.delete(key);
      this.#byCredential.get(before.credential)?.delete(key);
    }
    setOrDelete(this.integrations, key, record);
    if (record === undefined) return;
    bucket(this.#byNamespace, namespaceOf(key)).set(key, { key, record });
    bucket(this.#byCredential, record.credential).set(key, { key, record });
  }
}

function setOrDelete<V>(map: Map<string, V>, key: string, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

function bucket<V>(map: Map<string, Map<string, V>>, key: string): Map<string, V> {
  let found = map.get(key);
  if (found === undefined) {
    found = new Map();
    map.set(key, found);
  }
  return found;
}
