-- One row a batch, by the EIP-712 digest of its submission.
CREATE TABLE batches (
    submission_digest BYTEA PRIMARY KEY,
    rollup            BYTEA NOT NULL,
    batch_number      BIGINT NOT NULL,
    submission        BYTEA NOT NULL,
    upload_id         BYTEA NOT NULL UNIQUE,
    received_at_ms    BIGINT NOT NULL,
    phase             TEXT NOT NULL,
    failure_reason    TEXT NOT NULL,
    failure_detail    TEXT NOT NULL,
    holds_number      BIGINT NOT NULL,
    epoch             BIGINT NOT NULL,
    certificate       BYTEA NOT NULL,
    certified_at_ms   BIGINT NOT NULL,
    l1_transaction    BYTEA NOT NULL,
    l1_block          BIGINT NOT NULL,
    l1_gas_used       BIGINT NOT NULL,
    l1_by_us          BIGINT NOT NULL,
    l1_problem        TEXT NOT NULL,
    payload_dropped   BIGINT NOT NULL,
    finished          BIGINT NOT NULL,
    version           BIGINT NOT NULL
);

-- Two payloads never hold one batch number at a time, whatever races.
CREATE UNIQUE INDEX batches_by_number ON batches (rollup, batch_number) WHERE holds_number = 1;
CREATE INDEX batches_newest ON batches (received_at_ms, submission_digest);
CREATE INDEX batches_newest_of_rollup ON batches (rollup, received_at_ms, submission_digest);
CREATE INDEX batches_unfinished ON batches (finished) WHERE finished = 0;

-- One header a submission and epoch: persisted before anybody sees it.
CREATE TABLE dispersals (
    submission_digest BYTEA NOT NULL,
    epoch             BIGINT NOT NULL,
    digest            BYTEA NOT NULL,
    seats             BIGINT NOT NULL,
    threshold         BIGINT NOT NULL,
    quorum            BIGINT NOT NULL,
    record            BYTEA NOT NULL,
    PRIMARY KEY (submission_digest, epoch)
);

CREATE INDEX dispersals_by_digest ON dispersals (digest);

-- What each seat said to that header.
CREATE TABLE members (
    submission_digest BYTEA NOT NULL,
    epoch             BIGINT NOT NULL,
    seat              BIGINT NOT NULL,
    delivery          TEXT NOT NULL,
    signature         BYTEA NOT NULL,
    attempts          BIGINT NOT NULL,
    reason            TEXT NOT NULL,
    detail            TEXT NOT NULL,
    attested_at_ms    BIGINT NOT NULL,
    in_certificate    BIGINT NOT NULL,
    certificate_done  BIGINT NOT NULL,
    PRIMARY KEY (submission_digest, epoch, seat)
);

-- Uploads that are not a batch yet: removed when they end, or at the next start.
CREATE TABLE uploads (
    upload_id     BYTEA PRIMARY KEY,
    started_at_ms BIGINT NOT NULL
);

-- Payloads in rows of bounded size, each with the hash that it is checked against when read.
CREATE TABLE payload_rows (
    upload_id BYTEA NOT NULL,
    row_index BIGINT NOT NULL,
    hash      BYTEA NOT NULL,
    data      BYTEA NOT NULL,
    PRIMARY KEY (upload_id, row_index)
);
