-- One line for each batch whose shard this member holds. `sequence` is the order of storing and is never reused.
CREATE TABLE batches (
    sequence       BIGINT PRIMARY KEY,
    digest         BYTEA NOT NULL UNIQUE,
    rollup         BYTEA NOT NULL,
    batch_number   BIGINT NOT NULL,
    epoch          BIGINT NOT NULL,
    seat           BIGINT NOT NULL,
    expires_at     BIGINT NOT NULL,
    payload_length BIGINT NOT NULL,
    -- Geometry of the epoch, so that records are read without L1.
    n              BIGINT NOT NULL,
    k              BIGINT NOT NULL,
    -- Names the shard's rows and tree.
    shard          BIGINT NOT NULL UNIQUE,
    shard_length   BIGINT NOT NULL,
    certified      BIGINT NOT NULL,
    -- The record as dac.v1.Record, and keccak256 of these bytes.
    record         BYTEA NOT NULL,
    record_hash    BYTEA NOT NULL
);
CREATE INDEX batches_by_rollup ON batches (rollup, sequence);
CREATE INDEX batches_by_expiry ON batches (expires_at);

-- Shards in rows of 64 chunks. Rows of a shard that `uploads` names are on their way in and belong to no batch yet.
CREATE TABLE shard_rows (
    shard     BIGINT NOT NULL,
    row_index BIGINT NOT NULL,
    data      BYTEA NOT NULL,
    PRIMARY KEY (shard, row_index)
);

-- Hashes of a shard's chunks, 32 bytes each: the leaves of its Merkle tree.
CREATE TABLE shard_trees (
    shard       BIGINT PRIMARY KEY,
    leaf_hashes BYTEA NOT NULL
);

-- Uploads with staged rows. What a stopped process left here is deleted with its rows.
CREATE TABLE uploads (
    shard BIGINT PRIMARY KEY
);

-- Submissions whose payload was charged to their rollup's quota.
CREATE TABLE charged_submissions (
    submission BYTEA PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX charged_submissions_by_expiry ON charged_submissions (expires_at);

-- The one header stored for a submission in an epoch.
CREATE TABLE submission_headers (
    submission BYTEA NOT NULL,
    epoch      BIGINT NOT NULL,
    digest     BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (submission, epoch)
);
CREATE INDEX submission_headers_by_expiry ON submission_headers (expires_at);

-- Payload bytes that a rollup spent in a UTC day, counted in days since 1970.
CREATE TABLE quota_days (
    rollup BYTEA NOT NULL,
    day    BIGINT NOT NULL,
    spent  BIGINT NOT NULL,
    PRIMARY KEY (rollup, day)
);

-- One line: how much is stored, the last sequence given out, and how often the store was opened.
CREATE TABLE totals (
    id            BIGINT PRIMARY KEY,
    last_sequence BIGINT NOT NULL,
    batches       BIGINT NOT NULL,
    bytes         BIGINT NOT NULL,
    openings      BIGINT NOT NULL
);
INSERT INTO totals (id, last_sequence, batches, bytes, openings) VALUES (0, 0, 0, 0, 0);
