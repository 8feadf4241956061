import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { AuditCheckpoint, AuditHead, AuditKeyLink } from '../../api/admin.ts';
import { auditCheckpointBytes, auditHeadBytes, auditKeyLinkBytes } from '../../lib/auditChain.ts';
import type { Repository, Transaction } from '../persist/repository.ts';
import { ownKey } from '../vault/ownKey.ts';
import type { Vault } from '../vault/vault.ts';
import { addKeyLink } from './anchors.ts';

const KEY = 'audit key';

/** Signs heads and checkpoints of the audit with an Ed25519 key that the database keeps under the KEK. */
export class AuditSigner {
  readonly publicKeyPem: string;
  readonly #privateKey: KeyObject;

  private constructor(privateKey: KeyObject) {
    this.#privateKey = privateKey;
    this.publicKeyPem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString();
  }

  static async load(repository: Repository, vault: Vault): Promise<AuditSigner> {
    const der = await ownKey(repository, vault, KEY, newKey);
    return AuditSigner.#of(der);
  }

  /** Overwrites `der`. */
  static #of(der: Buffer): AuditSigner {
    try {
      return new AuditSigner(createPrivateKey({ key: der, type: 'pkcs8', format: 'der' }));
    } finally {
      der.fill(0);
    }
  }

  sign(end: Pick<AuditHead, 'chain' | 'seq' | 'hash' | 'at'>): AuditHead {
    return { ...end, ...this.#signed(auditHeadBytes(end)) };
  }

  checkpoint(begin: Omit<AuditCheckpoint, 'signature' | 'publicKeyPem'>): AuditCheckpoint {
    return { ...begin, ...this.#signed(auditCheckpointBytes(begin)) };
  }

  /** Puts a new key in the place of this one; this one vouches for it. */
  async successor(tx: Transaction, vault: Vault): Promise<{ signer: AuditSigner; link: AuditKeyLink }> {
    const der = newKey();
    const sealed = await vault.sealOwn(KEY, der);
    const signer = AuditSigner.#of(der);
    const keys = { previousPublicKeyPem: this.publicKeyPem, publicKeyPem: signer.publicKeyPem };
    const bytes = auditKeyLinkBytes(keys);
    const link = {
      ...keys,
      previousSignature: this.#signed(bytes).signature,
      signature: signer.#signed(bytes).signature,
    };
    await tx.meta.set(KEY, sealed);
    await addKeyLink(tx, link);
    return { signer, link };
  }

  #signed(bytes: Buffer): { signature: string; publicKeyPem: string } {
    return { signature: sign(null, bytes, this.#privateKey).toString('base64'), publicKeyPem: this.publicKeyPem };
  }
}

function newKey(): Buffer {
  return generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'der' });
}
