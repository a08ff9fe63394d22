//! Every metric of a node with its meaning, for Prometheus. All exist from the start.
//! `docs/operations.md` has the same table.

use dac_chain::{EndpointMetrics, News};
use dac_proto::reason::Reason;
use dac_runtime::monitor::{counter, counter_by, gauge, histogram};
use metrics::{describe_counter, describe_gauge};

/// The labels of outcomes that are not reasons.
const NO_REASON: [&str; 2] = ["OK", "OTHER"];
/// The methods that are counted, and the reasons for which they refuse.
const RETRIEVAL: [&str; 4] = ["GetBatchRecord", "GetShard", "GetChunks", "ListBatches"];
const RETRIEVAL_REASONS: [Reason; 9] = [
    Reason::Busy,
    Reason::Corrupt,
    Reason::Internal,
    Reason::MalformedRequest,
    Reason::NoSuchChunk,
    Reason::RateLimited,
    Reason::SeatBad,
    Reason::TooManyChunks,
    Reason::UnknownBatch,
];

/// The counters by rollup or operator.
const CLAIMS_CAPPED: &str = "dac_node_l1_claims_capped_total";
const CLAIMS_LEFT_OUT: &str = "dac_node_l1_claims_left_out_total";
const ACCUSATIONS: &str = "dac_node_accusations_total";
const PEER_FAULTS: &str = "dac_node_peer_faults_total";
/// The label of a rollup or operator that is not named.
const OTHER: &str = "other";
/// What dispersers and rollups are accused of, and whether signatures or L1 prove it.
const ACCUSED_OF: [(&str, &str); 14] = [
    (Reason::ConflictingHeader.as_str(), "yes"),
    (Reason::QuotaExceeded.as_str(), "yes"),
    (Reason::BadSubmissionSignature.as_str(), "no"),
    (Reason::WrongPoster.as_str(), "no"),
    (Reason::BadDisperserSignature.as_str(), "no"),
    (Reason::WrongDisperser.as_str(), "no"),
    (Reason::SubmissionMismatch.as_str(), "no"),
    (Reason::BadCertificate.as_str(), "no"),
    (Reason::BadRecord.as_str(), "no"),
    (Reason::BadShard.as_str(), "no"),
    (Reason::BadPayload.as_str(), "no"),
    ("BAD_SEAT", "yes"),
    ("FALSE_CLAIM", "yes"),
    ("DOUBTED_CLAIM", "no"),
];
/// What peers did wrong, beside the reasons that they gave themselves.
const PEER_KINDS: [&str; 15] = [
    "ENDPOINT_REFUSED",
    "UNREACHABLE",
    "TIMED_OUT",
    "STATUS",
    "JUNK",
    "OTHER_BATCH",
    "UNKNOWN_EPOCH",
    "CONTRADICTION",
    "BAD_RECORD",
    "BAD_CERTIFICATE",
    "BAD_SHARD",
    "BAD_PIECE",
    "BAD_CHUNK",
    "WRONG_CHUNKS",
    "OTHER_SEAT",
];

/// The metrics of the endpoints that L1 is read from.
pub(crate) const ENDPOINTS: EndpointMetrics =
    EndpointMetrics { disagreements: "dac_node_l1_disagreements_total", undecided: "dac_node_l1_undecided" };

/// Describes the metrics of every node. A reader has no others.
pub(crate) fn describe() {
    describe_gauge!("dac_node_l1_age_seconds", "Seconds since the committee registry was last read from L1");
    metrics::gauge!("dac_node_l1_age_seconds").set(f64::INFINITY);
    ENDPOINTS.describe();
    gauge(
        "dac_node_clock_ahead_of_l1_seconds",
        "Seconds by which this machine's clock is ahead of L1's newest block; negative where it is behind",
    );
    gauge("dac_node_stored_batches", "Batches in the store");
    gauge("dac_node_stored_bytes", "Bytes of shards in the store");
    describe_gauge!("dac_node_database_bytes", "Bytes of the PostgreSQL database's files");
    counter("dac_node_served_bytes_total", "Bytes of shards served");
    describe_counter!("dac_node_retrieval_total", "Calls of RetrievalService by method and outcome");
    for method in RETRIEVAL {
        let reasons = RETRIEVAL_REASONS.into_iter().map(Reason::as_str);
        for outcome in NO_REASON.into_iter().chain(reasons) {
            metrics::counter!("dac_node_retrieval_total", "method" => method, "outcome" => outcome)
                .increment(0);
        }
    }
    counter("dac_node_corrupt_total", "Stored shards and records that did not pass their check");
    counter("dac_node_unreadable_total", "Rows that the database could not read");
    counter("dac_node_store_failures_total", "Failures of the store");
}

/// Describes the metrics of a node that signs, beside those of [`describe`].
pub(crate) fn describe_member() {
    describe();
    describe_gauge!("dac_node_disk_free_bytes", "Free bytes on the file system of a SQLite store");
    let outcomes = || NO_REASON.into_iter().chain(Reason::ALL.iter().map(|reason| reason.as_str()));
    counter_by("dac_node_store_shard_total", "Deliveries by outcome", "outcome", outcomes());
    histogram("dac_node_store_shard_seconds", "One delivery, from its first message to the answer");
    counter_by("dac_node_sign_renewal_total", "Renewals asked for, by outcome", "outcome", outcomes());
    let causes = ["capacity", "disk", "database"];
    counter_by(
        "dac_node_storage_refusals_total",
        "Deliveries refused for want of room, by what is full",
        "cause",
        causes,
    );
    counter("dac_node_received_bytes_total", "Bytes of shards and payloads received");
    gauge("dac_node_upload_bytes_in_flight", "Bytes of uploads under way");
    counter("dac_node_deleted_batches_total", "Batches deleted because they had expired");
    describe_counter!(
        ACCUSATIONS,
        "What dispersers and rollups did that an honest one does not, by both, by kind and by whether signatures prove it"
    );
    describe_l1();
    describe_repair();
    name_rollup(OTHER);
    name_operator(OTHER);
}

/// Creates the counters of the rollups and operators that the registry has just named.
pub(crate) fn name(news: &News) {
    news.rollups.iter().for_each(|rollup| name_rollup(&rollup.to_string()));
    news.operators.iter().for_each(|operator| name_operator(&operator.to_string()));
}

fn name_rollup(rollup: &str) {
    for name in [CLAIMS_CAPPED, CLAIMS_LEFT_OUT] {
        metrics::counter!(name, "rollup" => rollup.to_owned()).increment(0);
    }
    for (kind, proven) in ACCUSED_OF {
        metrics::counter!(
            ACCUSATIONS, "rollup" => rollup.to_owned(), "disperser" => OTHER, "kind" => kind, "proven" => proven
        )
        .increment(0);
    }
}

fn name_operator(operator: &str) {
    for kind in PEER_KINDS.into_iter().chain(RETRIEVAL_REASONS.map(Reason::as_str)) {
        metrics::counter!(PEER_FAULTS, "operator" => operator.to_owned(), "kind" => kind).increment(0);
    }
}

fn describe_l1() {
    gauge("dac_node_l1_read_block", "Block up to which the contracts' events were read");
    gauge("dac_node_l1_unread_blocks", "Blocks whose events have still to be read");
    gauge("dac_node_l1_unreadable_rollups", "Rollups whose settlement contract cannot be read");
    counter("dac_node_l1_reorganisations_total", "Times that L1 took blocks back");
    counter("dac_node_l1_facts_total", "Records, settlements and other facts read from L1");
    counter("dac_node_l1_read_failures_total", "Failed attempts to read L1's events");
    counter("dac_node_l1_missed_facts_total", "Facts that only a second reading of L1's blocks found");
    describe_counter!(
        CLAIMS_CAPPED,
        "Times that a rollup's contract claimed more batches than a member looks for, by rollup"
    );
    describe_counter!(
        CLAIMS_LEFT_OUT,
        "Batches that a rollup's contract claims and that are not looked for, by rollup"
    );
    describe_gauge!("dac_node_duties", "Shards that this member owes, by state");
    for state in ["owed", "held", "missing", "doubted", "bad", "corrupt"] {
        metrics::gauge!("dac_node_duties", "state" => state).increment(0.0);
    }
}

fn describe_repair() {
    let outcomes = ["repaired", "held", "bad", "failed"];
    counter_by("dac_node_repairs_total", "Shards that were to be repaired, by outcome", "outcome", outcomes);
    counter("dac_node_repaired_bytes_total", "Bytes of shards brought back");
    counter(
        "dac_node_doubted_duties_total",
        "Duties that only a rollup's contract claims and that peers do not know",
    );
    counter("dac_node_refuted_duties_total", "Duties that a rollup's contract claims falsely");
    counter(
        "dac_node_bad_seats_total",
        "Batches whose disperser committed to bytes for this seat that are not a codeword",
    );
    describe_counter!(PEER_FAULTS, "Peers that gave something false or nothing, by operator and kind");
    counter("dac_node_scrub_rounds_total", "Times that everything stored was verified again");
    counter("dac_node_scrubbed_shards_total", "Shards verified again");
    counter("dac_node_scrubbed_bytes_total", "Bytes of shards verified again");
}

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) const fn to_gauge(value: u64) -> f64 {
    value as f64
}
