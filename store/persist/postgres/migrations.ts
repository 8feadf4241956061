/**
 * Each step is run once, in order, by whichever process comes first; the table schema_versions counts them. Steps that were released never change.
 *
 * Expand, then contract: while a version is rolled out, processes of the version before it go on with the new tables. So a step adds what may be
 * left out (tables, columns with a default, indexes); what nothing uses any more is dropped by the step after it at the earliest.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (name text COLLATE "C" PRIMARY KEY, value bytea NOT NULL);
  CREATE TABLE credentials (key text COLLATE "C" PRIMARY KEY, record text NOT NULL);
  CREATE TABLE integrations (key text COLLATE "C" PRIMARY KEY, record text NOT NULL);
  CREATE TABLE data_keys (credential text COLLATE "C" PRIMARY KEY, kek_id text NOT NULL, wrapped bytea NOT NULL);
  CREATE TABLE versions (credential text COLLATE "C" PRIMARY KEY, last bigint NOT NULL);
  CREATE TABLE materials (
    credential text COLLATE "C" NOT NULL REFERENCES data_keys (credential),
    version bigint NOT NULL,
    origin text NOT NULL,
    fields text NOT NULL,
    sealed bytea NOT NULL,
    written_at_ms bigint NOT NULL,
    PRIMARY KEY (credential, version)
  );
  CREATE TABLE sessions (id text COLLATE "C" PRIMARY KEY, record text NOT NULL, ended_at_ms bigint);
  CREATE TABLE identities (
    serial text COLLATE "C" PRIMARY KEY,
    fingerprint text NOT NULL,
    kind text NOT NULL,
    session_id text COLLATE "C" REFERENCES sessions (id),
    expires_at_ms bigint NOT NULL
  );
  CREATE INDEX identities_by_session ON identities (session_id);
  CREATE INDEX identities_by_end ON identities (expires_at_ms);
  CREATE TABLE revocations (id text COLLATE "C" PRIMARY KEY, record text NOT NULL);
  CREATE TABLE leases (
    id text COLLATE "C" PRIMARY KEY,
    session_id text COLLATE "C" NOT NULL REFERENCES sessions (id),
    credential text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    issued_at_ms bigint NOT NULL,
    expires_at_ms bigint NOT NULL,
    ended_at_ms bigint
  );
  CREATE INDEX leases_by_session ON leases (session_id);
  CREATE INDEX leases_by_version ON leases (credential, version);
  CREATE INDEX leases_by_end ON leases (expires_at_ms);
  CREATE TABLE pruned_leases (
    credential text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (credential, version)
  );
  CREATE TABLE join_tokens (digest text COLLATE "C" PRIMARY KEY, invitation text NOT NULL, expires_at_ms bigint NOT NULL);
  CREATE INDEX join_tokens_by_end ON join_tokens (expires_at_ms);
  CREATE TABLE audit (
    chain text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    at text COLLATE "C" NOT NULL,
    event text NOT NULL,
    previous_hash text NOT NULL,
    hash text NOT NULL,
    CONSTRAINT audit_chain PRIMARY KEY (chain, seq)
  );
  CREATE INDEX audit_by_time ON audit (chain, at);
  CREATE TABLE changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    change text NOT NULL
  );
  CREATE TABLE changes_forgotten (one boolean PRIMARY KEY DEFAULT true CHECK (one), upto bigint NOT NULL);
  INSERT INTO changes_forgotten (upto) VALUES (0);
  CREATE TABLE work (name text COLLATE "C" PRIMARY KEY, holder text NOT NULL, until timestamptz NOT NULL);
  `,
];
