/** A key as it is stored: what wrapped it, and what came out. */
export interface WrappedKey {
  kekId: string;
  wrapped: Buffer;
}

/** A key encryption key by its name; the newest of a provider is the last. */
export interface KekKey {
  id: string;
  createdAtMs?: number;
}

/**
 * Where key encryption keys live: a file or a mounted Secret here, a KMS elsewhere (hence promises). Another KMS is one more of these.
 *
 * Every failure is a KekError. Key ids tell nothing of the key, and are kept beside what a key wrapped, so that a wrong key is recognised.
 */
export interface KekProvider {
  readonly kind: 'file' | 'secret' | 'transit';
  /** For people: a path or an address. */
  readonly where: string;
  /** Whether a call leaves this process: then what it gave is worth keeping for a while, and it may not be made within a transaction. */
  readonly remote: boolean;
  /** Whether what fails now may come back by itself, so that the store waits for it sealed instead of ending. */
  readonly returns: boolean;
  /** Oldest first, as they were when last looked at: after `health`. Empty: none at hand. */
  readonly keys: readonly KekKey[];
  /** Why the last look found nothing newer than what is in memory, where that does not stop the use of it. */
  readonly trouble?: string | undefined;
  /** Whether a key of that id is, or may be, one of these. */
  knows(keyId: string): boolean;
  /** Looks again at what keys there are and whether they can be used. With `keep`, keys in memory that are gone stay until the next look without. */
  health(keep?: boolean): Promise<void>;
  wrap(keyId: string, plaintext: Buffer, aad: Buffer): Promise<WrappedKey>;
  /** The caller overwrites the result after use. @throws KekRefused if anything differs from what was wrapped */
  unwrap(key: WrappedKey, aad: Buffer): Promise<Buffer>;
  /** Makes a new key, and names it; nothing is wrapped by it before `wrap` says so. Absent where keys are made elsewhere. */
  makeKey?(): Promise<string>;
  /** Forgets every key but these, for good. Absent where keys are kept elsewhere. */
  retire?(keep: ReadonlySet<string>): Promise<void>;
  /** Overwrites keys in memory, ends connections. */
  close(): void;
}

/** What a person does about each failure of a provider. */
export const KEK_HELP = {
  KekRefused: 'What was wrapped does not open: it was changed, moved, or wrapped by another key.',
  KekMissing: 'The key is not there (yet): put it back, or mount the Secret that holds it.',
  KekExposed:
    'The key is readable by others; take that right away, and replace the credentials if others may have read it.',
  KekMalformed: 'The key is not 32 bytes; put the right one back.',
  KekMismatch: 'The key there is another one than the database was encrypted under; put the right one back.',
  KekUnreachable: 'The key management service does not answer; see to it and to the network between.',
  KekUntrusted: 'The certificate of the key management service does not verify; name its CA with caFile.',
  KekServiceSealed: 'The key management service is sealed itself; unseal it.',
  KekDenied: 'The key management service does not permit the call; see to the token and its policy.',
  KekUnsuitable: 'The key there cannot do what is needed: it must be a symmetric AEAD key that binds associated data.',
} as const;

export type KekErrorCode = keyof typeof KEK_HELP;

/** A failure of a provider; the message holds no key and nothing that a service has answered. */
export class KekError extends Error {
  override readonly name = 'KekError';
  readonly code: KekErrorCode;

  constructor(code: KekErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
