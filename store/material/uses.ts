import type { CredentialRecord } from '../../api/protocol.ts';
import type { MaterialHead, VersionUses } from '../persist/repository.ts';

/** Which versions are used up, for those who are told of them; what is leased is decided by the count in the database. */
export class MaterialUses {
  readonly #known = new Map<string, VersionUses>();

  counted(uses: VersionUses): void {
    const known = this.#known.get(uses.credential);
    // Told twice, and not in order.
    const isOld = known !== undefined && (uses.version - known.version || uses.count - known.count) <= 0;
    if (!isOld) this.#known.set(uses.credential, uses);
  }

  usedUp({ credential, version }: MaterialHead, { maxUses }: CredentialRecord): boolean {
    const known = this.#known.get(credential);
    return maxUses !== undefined && known?.version === version && known.count >= maxUses;
  }

  forget(credential: string): void {
    this.#known.delete(credential);
  }
}
