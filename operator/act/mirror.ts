import type { CredentialRecord, IntegrationRecord, ObjectsAnswer, StoredCredential } from '../../api/protocol.ts';
import type { Held, HeldCredential } from '../decide/held.ts';

/** What the store holds, as its answers and events tell. */
export class Mirror implements Held {
  readonly credentials = new Map<string, HeldCredential>();
  readonly integrations = new Map<string, IntegrationRecord>();

  reset({ credentials, integrations }: ObjectsAnswer): void {
    this.credentials.clear();
    this.integrations.clear();
    for (const credential of credentials) this.credentials.set(credential.key, credential);
    for (const { key, record } of integrations) this.integrations.set(key, record);
  }

  /** What the store answered to a record or to material; without a record, the one it has stays. */
  setCredential(stored: StoredCredential, record?: CredentialRecord): void {
    const known = record ?? this.credentials.get(stored.key)?.record;
    if (known !== undefined) this.credentials.set(stored.key, { ...stored, record: known });
  }

  /** Whether an event says what is known already. */
  agrees(stored: StoredCredential): boolean {
    const held = this.credentials.get(stored.key);
    return (
      held !== undefined &&
      held.version === stored.version &&
      held.source === stored.source &&
      held.expiresAt === stored.expiresAt &&
      held.usedUp === stored.usedUp &&
      held.fields.join() === stored.fields.join()
    );
  }
}
