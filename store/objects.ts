import type { CredentialRecord, IntegrationRecord, ObjectsAnswer, StoredCredential } from '../api/protocol.ts';
import { canonicalJson } from '../lib/auditChain.ts';
import type { Audit } from './audit/audit.ts';
import { storeError } from './errors.ts';
import type { Materials } from './material/materials.ts';
import type { Repository, Transaction } from './persist/repository.ts';
import type { State } from './state.ts';

export interface ObjectsOptions {
  repository: Repository;
  state: State;
  audit: Audit;
  materials: Materials;
}

/** The Credentials and Integrations that the operator says are in force. Applying one anew changes nothing. */
export class Objects {
  readonly #o: ObjectsOptions;

  constructor(options: ObjectsOptions) {
    this.#o = options;
  }

  async list(): Promise<ObjectsAnswer> {
    const { repository, state } = this.#o;
    await repository.snapshot(async (tx) => {
      for (const [key, { maxUses }] of state.credentials) {
        const version = state.versionOf(key);
        if (maxUses === undefined || version === 0) continue;
        state.uses.counted({ credential: key, version, count: await tx.leases.count(key, version) });
      }
    });
    return {
      credentials: [...state.credentials].map(([key, record]) => ({ ...state.stored(key)!, record })),
      integrations: [...state.integrations].map(([key, record]) => ({ key, record })),
    };
  }

  /** A generated credential gets its first material here. */
  async applyCredential(key: string, record: CredentialRecord, by: string): Promise<StoredCredential> {
    const { audit, materials, repository, state } = this.#o;
    await repository.transaction(async (tx) => {
      const before = await tx.credentials.get(key);
      if (before === undefined || canonicalJson(before) !== canonicalJson(record)) {
        await tx.credentials.put(key, record);
        await audit.append(tx, { kind: 'credential.applied', credential: key, record, by });
        await tellUses(tx, key, record);
      }
      if (record.source === 'generated' && (await tx.materials.newest(key))?.origin !== 'generated')
        await materials.generate(tx, key, record.generated);
    });
    const stored = state.stored(key);
    if (stored === undefined) throw storeError('NotFound', `${key} was removed meanwhile.`);
    return stored;
  }

  /** Removes the Credential and its material, except what an owner has set by hand: that waits for the Credential to come back. */
  async removeCredential(key: string, by: string): Promise<void> {
    const { audit, materials, repository } = this.#o;
    await repository.transaction(async (tx) => {
      if ((await tx.credentials.get(key)) === undefined) return;
      await tx.credentials.delete(key);
      await audit.append(tx, { kind: 'credential.removed', credential: key, by });
      const origin = (await tx.materials.newest(key))?.origin;
      if (origin !== undefined && origin !== 'store') await materials.removeIn(tx, key, by);
    });
  }

  async applyIntegration(key: string, record: IntegrationRecord, by: string): Promise<void> {
    const { audit, repository } = this.#o;
    await repository.transaction(async (tx) => {
      const before = await tx.integrations.get(key);
      if (before !== undefined && canonicalJson(before) === canonicalJson(record)) return;
      await tx.integrations.put(key, record);
      await audit.append(tx, { kind: 'integration.applied', integration: key, record, by });
    });
  }

  async removeIntegration(key: string, by: string): Promise<void> {
    const { audit, repository } = this.#o;
    await repository.transaction(async (tx) => {
      if ((await tx.integrations.get(key)) === undefined) return;
      await tx.integrations.delete(key);
      await audit.append(tx, { kind: 'integration.removed', integration: key, by });
    });
  }
}

/** Under another `maxUses` the version in force may be used up already, or no more. */
async function tellUses(tx: Transaction, credential: string, { maxUses }: CredentialRecord): Promise<void> {
  const head = maxUses === undefined ? undefined : await tx.materials.newest(credential);
  if (head === undefined) return;
  const { version } = head;
  await tx.leases.tell({ credential, version, count: await tx.leases.count(credential, version) });
}
