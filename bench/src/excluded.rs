//! Texts that say what each figure excludes, for the report and the page.

/// What all figures of the whole system include and exclude.
pub const SYSTEM: &str = "\
Included: submission over gRPC, durable storage by aggregator and members (each commit synchronised), encoding, checks, signatures, \
certificates back to members. The sender of the load, a local chain and all processes run on the same machine and share its cores.\n\
Excluded: L1 (only the measurement of repair posts batches; processes read L1 at their start), networks (all connections are loopback), separate machines for members, hash kinds that send \
members the whole payload, repetitive payloads (all are random).\n\
Floor: the aggregator recovers the submission's signer, encodes and commits, signs the header and verifies the sum of the signatures; \
each member recovers both signers, checks its shard, signs, and verifies the certificate together with 31 others; on all cores; \
no byte is moved, stored or parsed in the floor.";

/// What all other figures exclude, by a prefix of the figure's name; the longest prefix that fits
/// counts.
const EXCLUDED: &[(&str, &str)] = &[
    ("coding/", "making the payload, signatures, network, storage"),
    ("coding/repair", "fetching the shards, network, storage"),
    ("signatures/", "parsing messages, network"),
    ("proving/", "encoding, certification, L1"),
    ("gas/", "blob or calldata costs of the rollup itself, the price of gas"),
    ("system/", "L1, network (loopback), separate machines: all processes and the sender share this one"),
    ("system/aggregator CPU", "L1, the database server's and the kernel's work outside the process"),
    ("system/node CPU", "L1, the database server's and the kernel's work outside the process"),
    ("system/aggregator writes", "what a database server writes for it, the file system's own blocks"),
    ("system/node writes", "what a database server writes for it, the file system's own blocks"),
    ("system/PostgreSQL", "nothing of the server: its checkpoints, log and vacuum are in it"),
    (
        "system/loopback",
        "connections to a database server, which are Unix sockets; included: all other connections of this machine to itself",
    ),
    ("system/aggregator memory", "pages of files that the kernel caches"),
    ("system/node memory", "pages of files that the kernel caches"),
    ("system/certificate latency", "L1, the way over a network, making and signing the payload"),
    (
        "system/retrieval",
        "the kernel's cache of SQLite's files (dropped before), network; PostgreSQL's caches stay",
    ),
    (
        "system/repair",
        "the kernel's cache of SQLite's files (dropped before), network, the wait for L1 blocks",
    ),
    ("scale/", "all that the model's parameters leave out: it is computed, not measured"),
];

/// Returns what the figure with this name excludes.
pub fn of(name: &str) -> &'static str {
    let fitting = EXCLUDED.iter().filter(|(prefix, _)| name.starts_with(prefix));
    fitting.max_by_key(|(prefix, _)| prefix.len()).map_or("", |(_, excluded)| excluded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_particular_counts() {
        assert!(of("system/retrieval, all members/n=4,k=2/SQLite/plain/1 MiB").contains("dropped before"));
        assert!(of("system/capacity/n=4,k=2/SQLite/plain/1 MiB").contains("loopback"));
        assert!(of("coding/encode/n=4 k=2 1 MiB").contains("storage"));
        assert_eq!(of("something else"), "");
    }
}
