/** Each step is run once, in order; PRAGMA user_version counts them. Steps that were released never change. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE credentials (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE integrations (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE data_keys (credential TEXT PRIMARY KEY, kek_id TEXT NOT NULL, wrapped BLOB NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE versions (credential TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE materials (
    credential TEXT NOT NULL REFERENCES data_keys (credential),
    version INTEGER NOT NULL,
    origin TEXT NOT NULL,
    fields TEXT NOT NULL,
    sealed BLOB NOT NULL,
    written_at_ms INTEGER NOT NULL,
    PRIMARY KEY (credential, version)
  ) STRICT;
  CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    record TEXT NOT NULL,
    ended_at_ms INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE identities (
    serial TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    kind TEXT NOT NULL,
    session_id TEXT REFERENCES sessions (id),
    expires_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX identities_by_session ON identities (session_id);
  CREATE TABLE leases (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id),
    credential TEXT NOT NULL,
    version INTEGER NOT NULL,
    issued_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX leases_by_session ON leases (session_id);
  CREATE INDEX leases_by_end ON leases (expires_at_ms);
  CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    event TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL
  ) STRICT;
  `,
  `
  CREATE TABLE revocations (id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
  ALTER TABLE leases ADD COLUMN ended_at_ms INTEGER;
  CREATE INDEX leases_by_version ON leases (credential, version);
  CREATE TABLE pruned_leases (
    credential TEXT NOT NULL,
    version INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (credential, version)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE join_tokens (
    digest TEXT PRIMARY KEY,
    invitation TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE audit_chains (
    chain TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at TEXT NOT NULL,
    event TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (chain, seq)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO audit_chains SELECT 'store', seq, at, event, previous_hash, hash FROM audit;
  DROP TABLE audit;
  ALTER TABLE audit_chains RENAME TO audit;
  CREATE INDEX audit_by_time ON audit (chain, at);
  UPDATE meta SET name = 'audit head store' WHERE name = 'audit head';
  `,
];
