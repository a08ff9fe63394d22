-- Whether so many members do not know the batch that no quorum can have signed it, as its rollup's contract claims: it is looked for
-- still, and is not counted as missing unless the log has its certificate.
CREATE INDEX duties_by_rollup_and_keeping ON duties (rollup, keep_until, digest);
ALTER TABLE duties ADD COLUMN doubted BIGINT NOT NULL DEFAULT 0;
