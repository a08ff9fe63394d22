-- Records stand apart from the lines of their batches: they are long, and one that the disk has lost must not take with it what is
-- known of its batch, nor keep it from being marked, replaced or deleted.
CREATE TABLE records (
    shard       BIGINT PRIMARY KEY,
    -- The record as dac.v1.Record, and keccak256 of these bytes.
    record      BYTEA NOT NULL,
    record_hash BYTEA NOT NULL
);
INSERT INTO records (shard, record, record_hash) SELECT shard, record, record_hash FROM batches;
ALTER TABLE batches DROP COLUMN record;
ALTER TABLE batches DROP COLUMN record_hash;
