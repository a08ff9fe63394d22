-- Certificates to be recorded on L1, and what became of each.
CREATE TABLE postings (
    digest   BYTEA PRIMARY KEY,
    sequence BIGINT NOT NULL UNIQUE,
    done     BIGINT NOT NULL,
    body     TEXT NOT NULL
);

CREATE INDEX postings_waiting ON postings (sequence) WHERE done = 0;

-- Nonces given out and not finally used, with every transaction signed for them.
CREATE TABLE nonce_slots (
    nonce BIGINT PRIMARY KEY,
    body  TEXT NOT NULL
);
