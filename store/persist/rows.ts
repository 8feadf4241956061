import type { WrappedKey } from '../vault/vault.ts';
import type { IdentityRow, LeaseRow, MaterialHead } from './repository.ts';

/** A row as the driver of an engine gives it: large numbers may be text, bytes any view of them. */
export type Row = Record<string, unknown>;

export function wrappedKey(row: Row): WrappedKey {
  return { kekId: String(row.kek_id), wrapped: bytes(row.wrapped) };
}

export function materialHead(row: Row): MaterialHead {
  return {
    credential: String(row.credential),
    version: Number(row.version),
    origin: String(row.origin) as MaterialHead['origin'],
    fields: JSON.parse(String(row.fields)),
    writtenAtMs: Number(row.written_at_ms),
  };
}

export function identityOf(row: Row): IdentityRow {
  const identity: IdentityRow = {
    serial: String(row.serial),
    fingerprint: String(row.fingerprint),
    kind: String(row.kind) as IdentityRow['kind'],
    expiresAtMs: Number(row.expires_at_ms),
  };
  return row.session_id === null ? identity : { ...identity, sessionId: String(row.session_id) };
}

export function leaseOf(row: Row): LeaseRow {
  const lease: LeaseRow = {
    id: String(row.id),
    sessionId: String(row.session_id),
    credential: String(row.credential),
    version: Number(row.version),
    issuedAtMs: Number(row.issued_at_ms),
    expiresAtMs: Number(row.expires_at_ms),
  };
  return row.ended_at_ms === null ? lease : { ...lease, endedAtMs: Number(row.ended_at_ms) };
}

export function bytes(value: unknown): Buffer {
  const view = value as Uint8Array;
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}

export function versionGoesBack({ credential, version }: MaterialHead): Error {
  return new Error(`version ${version} of ${credential} would not be the highest`);
}
