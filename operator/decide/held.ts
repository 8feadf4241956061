import type { CredentialRecord, IntegrationRecord, StoredCredential } from '../../api/protocol.ts';

export type HeldCredential = StoredCredential & { record: CredentialRecord };

/** What the store holds, as far as this process knows. */
export interface Held {
  credentials: ReadonlyMap<string, HeldCredential>;
  integrations: ReadonlyMap<string, IntegrationRecord>;
}

/** Material that this process has handed over and the store has acknowledged. */
export interface Sent {
  /** Of the Secret's bytes (SecretValue), by field. */
  digest: string;
  /** What the store made of it. */
  version: number;
}

/** Why the store did not take a change. */
export interface Failure {
  code: string;
  message: string;
}
