-- The UTC day, in days since 1970, of whose quota the rollup spends a batch's payload; 0 where it spends none.
ALTER TABLE batches ADD COLUMN quota_day BIGINT NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN payload_bytes BIGINT NOT NULL DEFAULT 0;
CREATE INDEX batches_by_quota_day ON batches (rollup, quota_day, payload_bytes) WHERE quota_day > 0;
