import type { AuditEntry } from '../../api/admin.ts';
import type { WrappedKey } from '../vault/kek.ts';
import type { IdentityRow, JoinTokenRow, LeaseRow, MaterialHead } from './repository.ts';

/** What the name in the meta table of the head of a chain begins with. */
export const AUDIT_HEAD = 'audit head ';

/** A row as the driver of an engine gives it: large numbers may be text, bytes any view of them. */
export type Row = Record<string, unknown>;

/** Of a table that keeps JSON. */
export function recordOf(row: Row) {
  return JSON.parse(String(row.record));
}

/** A Credential or Integration. */
export function objectOf(row: Row) {
  return { key: String(row.key), record: recordOf(row) };
}

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

export function joinTokenOf(row: Row): JoinTokenRow {
  return { invitation: JSON.parse(String(row.invitation)), expiresAtMs: Number(row.expires_at_ms) };
}

export function auditEntryOf(row: Row): AuditEntry {
  return {
    chain: String(row.chain),
    seq: Number(row.seq),
    at: String(row.at),
    event: JSON.parse(String(row.event)),
    previousHash: String(row.previous_hash),
    hash: String(row.hash),
  };
}

export function bytes(value: unknown): Buffer {
  const view = value as Uint8Array;
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}

export function versionGoesBack({ credential, version }: MaterialHead): Error {
  return new Error(`version ${version} of ${credential} would not be the highest`);
}
