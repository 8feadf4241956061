import type { KekSpec } from './bootstrap.ts';

/**
 * What the owner asks of the key encryption keys, on the admin socket (admin.ts); the first also while the store is sealed.
 *
 * | request | answer |
 * |---|---|
 * | GET /v1/admin/kek | KekStatus |
 * | GET /v1/admin/kek/rotation | KekRotationStatus of the one that goes on, else 204 |
 * | POST /v1/admin/kek/rotate KekRotateRequest | KekStatus, with the rotation that was begun or goes on already |
 */
export interface KekRotateRequest {
  /** Where the new key is to be; where the one in force is, if it is left out. */
  to?: KekSpec | undefined;
}

export interface KekStatus {
  /** Why nothing that needs keys is given out, and what to do. */
  sealed?: { code: string; message: string };
  /** Those that are at hand, and those that something is still under. Empty where the store started sealed. */
  keys: KekKeyStatus[];
  rotation?: KekRotationStatus;
}

export interface KekKeyStatus {
  id: string;
  /** `file`, `secret` or `transit`; absent where the key is not at hand. */
  kind?: string;
  /** Path or address. */
  where?: string;
  /** RFC 3339. */
  createdAt?: string;
  /** Whether it wraps what is new. */
  current: boolean;
  /** What is under it. */
  dataKeys: number;
  ownKeys: number;
}

export interface KekRotationStatus {
  to: string;
  startedAt: string;
  /** Keys under the new one, of all that there are. */
  done: number;
  total: number;
  /** Why it does not get on now; it goes on by itself. */
  problem?: string;
}
