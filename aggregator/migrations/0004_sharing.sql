-- Which process works on a batch; empty where none does. A process is there while its lease runs.
ALTER TABLE batches ADD COLUMN owner TEXT NOT NULL DEFAULT '';
-- Another process changed it: its owner is to read it again.
ALTER TABLE batches ADD COLUMN touched BIGINT NOT NULL DEFAULT 0;
CREATE INDEX batches_touched ON batches (owner) WHERE touched = 1;

-- Whose upload it is: those of processes that are gone are removed.
ALTER TABLE uploads ADD COLUMN owner TEXT NOT NULL DEFAULT '';
