-- Until when a batch is kept: its expiry, or longer where its coverage was renewed. Deletion goes by this.
ALTER TABLE batches ADD COLUMN keep_until BIGINT NOT NULL DEFAULT 0;
-- Whether what is stored was seen to fail its check and waits for repair.
ALTER TABLE batches ADD COLUMN corrupt BIGINT NOT NULL DEFAULT 0;
UPDATE batches SET keep_until = expires_at;
DROP INDEX batches_by_expiry;
CREATE INDEX batches_by_keeping ON batches (keep_until);
CREATE INDEX batches_corrupt ON batches (keep_until, digest) WHERE corrupt = 1;

-- Batches that L1 names and that have not expired, whoever owes their shards. A rollup's contract speaks for that rollup only, so
-- what two of them say of one digest stands apart. Block numbers are -1 where the event was not seen, or was reorganised away.
CREATE TABLE duties (
    digest         BYTEA NOT NULL,
    rollup         BYTEA NOT NULL,
    batch_number   BIGINT NOT NULL,
    epoch          BIGINT NOT NULL,
    expires_at     BIGINT NOT NULL,
    keep_until     BIGINT NOT NULL,
    recorded_block BIGINT NOT NULL,
    settled_block  BIGINT NOT NULL,
    -- Whether the batch's own record contradicts what its rollup's contract says: nobody can repair such a thing.
    refuted        BIGINT NOT NULL,
    PRIMARY KEY (digest, rollup)
);
CREATE INDEX duties_by_keeping ON duties (keep_until, digest);
CREATE INDEX duties_by_rollup ON duties (rollup, batch_number);

-- Which seat's shards this member owes, by the batches' epoch.
CREATE TABLE owed_seats (
    epoch BIGINT PRIMARY KEY,
    seat  BIGINT NOT NULL
);

-- How far each contract was read, with hashes of blocks that were. `kind` is 0 for a certificate log, 1 for a rollup's settlement
-- contract.
CREATE TABLE l1_cursors (
    kind     BIGINT NOT NULL,
    contract BYTEA NOT NULL,
    cursor   TEXT NOT NULL,
    PRIMARY KEY (kind, contract)
);

-- Longer promises for all settled batches of a rollup up to a number: signed by this member, or seen on L1. Never undone.
CREATE TABLE renewals (
    rollup     BYTEA NOT NULL,
    last_batch BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (rollup, last_batch, expires_at)
);

-- Batches whose disperser committed a shard for this member's seat that is none of the code, with their records.
CREATE TABLE bad_seats (
    digest      BYTEA PRIMARY KEY,
    seat        BIGINT NOT NULL,
    found_at    BIGINT NOT NULL,
    keep_until  BIGINT NOT NULL,
    n           BIGINT NOT NULL,
    k           BIGINT NOT NULL,
    record      BYTEA NOT NULL,
    record_hash BYTEA NOT NULL
);

-- One line: where the round of re-verification stands, in the order of storing, and when rounds began and ended (Unix seconds).
CREATE TABLE scrub (
    id       BIGINT PRIMARY KEY,
    after    BIGINT NOT NULL,
    began_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL
);
INSERT INTO scrub (id, after, began_at, ended_at) VALUES (0, 0, 0, 0);
