import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { AuditHead } from '../../api/admin.ts';
import { auditHeadBytes } from '../../lib/auditChain.ts';
import type { Repository } from '../persist/repository.ts';
import { ownKey } from '../vault/ownKey.ts';
import type { Vault } from '../vault/vault.ts';

/** Signs heads of the audit chain with an Ed25519 key that the database keeps under the KEK. */
export class AuditSigner {
  readonly publicKeyPem: string;
  readonly #privateKey: KeyObject;

  private constructor(privateKey: KeyObject) {
    this.#privateKey = privateKey;
    this.publicKeyPem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString();
  }

  static async load(repository: Repository, vault: Vault): Promise<AuditSigner> {
    const der = await ownKey(repository, vault, 'audit key', () =>
      generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'der' }),
    );
    try {
      return new AuditSigner(createPrivateKey({ key: der, type: 'pkcs8', format: 'der' }));
    } finally {
      der.fill(0);
    }
  }

  sign(end: Pick<AuditHead, 'seq' | 'hash' | 'at'>): AuditHead {
    const signature = sign(null, auditHeadBytes(end), this.#privateKey).toString('base64');
    return { ...end, signature, publicKeyPem: this.publicKeyPem };
  }
}
