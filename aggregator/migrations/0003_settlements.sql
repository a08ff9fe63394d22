-- How a batch comes to L1, the proof that was handed in, and where its rollup settled it. Batches from before have no row: they
-- are recorded.
CREATE TABLE settlements (
    submission_digest BYTEA PRIMARY KEY,
    posting           TEXT NOT NULL,
    proof_state       TEXT NOT NULL,
    proof_reason      TEXT NOT NULL,
    proof_hash        BYTEA NOT NULL,
    new_state_root    BYTEA NOT NULL,
    inputs_consumed   BIGINT NOT NULL,
    outputs           BYTEA NOT NULL,
    proof_at_ms       BIGINT NOT NULL,
    settled           BIGINT NOT NULL,
    transaction_hash  BYTEA NOT NULL,
    block             BIGINT NOT NULL,
    gas_used          BIGINT NOT NULL,
    by_us             BIGINT NOT NULL
);

-- Proofs that may still settle their batch.
CREATE TABLE proofs (
    submission_digest BYTEA PRIMARY KEY,
    proof             BYTEA NOT NULL
);
