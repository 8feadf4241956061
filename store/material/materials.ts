import { timingSafeEqual } from 'node:crypto';
import type { CredentialRecord, StoredCredential } from '../../api/protocol.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Audit } from '../audit/audit.ts';
import { versionFloor } from '../backup/epoch.ts';
import { storeError, storeErrorCode } from '../errors.ts';
import type { Repository, SealedMaterial, Transaction } from '../persist/repository.ts';
import type { WrappedKey } from '../vault/kek.ts';
import { KeyNotAtHand } from '../vault/keyNotAtHand.ts';
import type { Vault } from '../vault/vault.ts';
import { canonicalFrame } from './frame.ts';
import { generateFrame } from './generate.ts';

type Origin = CredentialRecord['source'];

export interface MaterialsOptions {
  clock: Clock;
  repository: Repository;
  vault: Vault;
  audit: Audit;
}

/** How material is set, read and removed. Versions count up and never come back; a replaced version is deleted. */
export class Materials {
  readonly #o: MaterialsOptions;

  constructor(options: MaterialsOptions) {
    this.#o = options;
  }

  /** From the operator, for a Credential with source `secret`. Overwrites `received`. @throws NotFound, WrongSource, MalformedRequest */
  put(credential: string, received: Buffer, by: string): Promise<StoredCredential> {
    return this.#set(credential, 'secret', received, by);
  }

  /** From the owner, for source `store`, also before there is a Credential. Overwrites `received`. @throws WrongSource, MalformedRequest */
  set(credential: string, received: Buffer, by: string): Promise<StoredCredential> {
    return this.#set(credential, 'store', received, by);
  }

  /** Removes every version. @throws NotFound */
  async remove(credential: string, by: string): Promise<void> {
    await this.#o.repository.transaction(async (tx) => {
      if ((await tx.materials.newest(credential)) === undefined)
        throw storeError('NotFound', `${credential} has no material.`);
      await this.removeIn(tx, credential, by);
    });
  }

  async removeIn(tx: Transaction, credential: string, by: string): Promise<void> {
    await tx.materials.delete(credential);
    await this.#o.audit.append(tx, { kind: 'material.removed', credential, by });
  }

  /** Makes a new version by the Credential's policy; the version before it stays for `overlapSeconds`. */
  async generate(tx: Transaction, credential: string, policy: CredentialRecord['generated']): Promise<void> {
    if (policy === undefined) return;
    const frame = generateFrame(policy);
    try {
      await this.#write(
        tx,
        { credential, origin: 'generated', by: 'store', keepPrevious: policy.overlapSeconds !== undefined },
        frame,
      );
    } finally {
      frame.fill(0);
    }
  }

  /** The frame of a generated credential, for its owner, once that is on record; the caller overwrites it. @throws NotFound, WrongSource, MaterialMissing */
  async reveal(credential: string, by: string): Promise<{ frame: Buffer; version: number }> {
    return this.#o.repository.transaction(async (tx) => {
      const record = await tx.credentials.get(credential);
      if (record === undefined) throw storeError('NotFound', `There is no Credential ${credential}.`);
      if (record.source !== 'generated')
        throw storeError(
          'WrongSource',
          `Only generated material can be read back; ${credential} has source ${record.source}.`,
        );
      const { material, frame } = await this.openInForce(tx, credential, record.source);
      await this.#o.audit.append(tx, { kind: 'material.revealed', credential, version: material.version, by });
      return { frame, version: material.version };
    });
  }

  /** The newest version, if `source` has written it, and its frame, which the caller overwrites. @throws MaterialMissing, MaterialDamaged */
  async openInForce(
    tx: Transaction,
    credential: string,
    source: Origin,
  ): Promise<{ material: SealedMaterial; frame: Buffer }> {
    const material = await tx.materials.newest(credential);
    if (material?.origin !== source) throw storeError('MaterialMissing');
    return { material, frame: await this.#open(tx, material) };
  }

  async #open(tx: Transaction, material: SealedMaterial): Promise<Buffer> {
    const { credential, version, sealed } = material;
    try {
      if (version !== (await tx.materials.lastVersion(credential)))
        throw new Error('it is not the last version that was written');
      const dataKey = await tx.dataKeys.get(credential);
      if (dataKey === undefined) throw new Error('there is no data key');
      return await this.#o.vault.openMaterial(dataKey, credential, version, sealed);
    } catch (error) {
      if (isOfKek(error)) throw error;
      throw storeError('MaterialDamaged', `The stored material of ${credential} does not open; set it again.`, {
        cause: error,
      });
    }
  }

  async #set(credential: string, origin: Origin, received: Buffer, by: string): Promise<StoredCredential> {
    const { frame, fields } = canonicalFrame(received);
    try {
      return await this.#o.repository.transaction(async (tx) => {
        const record = await tx.credentials.get(credential);
        if (record === undefined && origin !== 'store')
          throw storeError('NotFound', `There is no Credential ${credential}.`);
        if (record !== undefined && record.source !== origin)
          throw storeError(
            'WrongSource',
            `The material of ${credential} comes from its source ${record.source}, not from here.`,
          );
        const version = await this.#write(tx, { credential, origin, by, fields }, frame);
        return { key: credential, source: origin, version, fields };
      });
    } finally {
      frame.fill(0);
    }
  }

  async #write(
    tx: Transaction,
    target: { credential: string; origin: Origin; by: string; fields?: string[]; keepPrevious?: boolean },
    frame: Buffer,
  ): Promise<number> {
    const { credential, origin, by, fields = ['value'], keepPrevious = false } = target;
    const held = await tx.materials.newest(credential);
    if (held?.origin === origin && (await this.#holds(tx, held, frame))) return held.version;
    const dataKey = await this.#dataKey(tx, credential);
    const version = Math.max(await tx.materials.lastVersion(credential), await versionFloor(tx)) + 1;
    const sealed = await this.#o.vault.sealMaterial(dataKey, credential, version, frame);
    await tx.materials.put({ credential, version, origin, fields, writtenAtMs: this.#o.clock.nowMs(), sealed });
    await tx.materials.deleteBefore(credential, keepPrevious && held !== undefined ? held.version : version);
    await this.#o.audit.append(tx, { kind: 'material.written', credential, version, origin, fields, by });
    return version;
  }

  async #holds(tx: Transaction, held: SealedMaterial, frame: Buffer): Promise<boolean> {
    let current: Buffer;
    try {
      current = await this.#open(tx, held);
    } catch (error) {
      if (isOfKek(error)) throw error;
      return false; // Damaged: what is written now takes its place.
    }
    const same = current.length === frame.length && timingSafeEqual(current, frame);
    current.fill(0);
    return same;
  }

  /** The credential's data key, or a new one where there is none or it does not open any more. */
  async #dataKey(tx: Transaction, credential: string): Promise<WrappedKey> {
    const found = await tx.dataKeys.get(credential);
    if (found !== undefined && (await this.#o.vault.opens(found, credential))) return found;
    const made = await this.#o.vault.newDataKey(tx, credential);
    await tx.dataKeys.put(credential, made);
    return made;
  }
}

/** Not of the material: its key is to be had from elsewhere, or not at all now. */
function isOfKek(error: unknown): boolean {
  return error instanceof KeyNotAtHand || storeErrorCode(error) === 'StoreSealed';
}
