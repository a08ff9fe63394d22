//! Checks a system's history after faults. It is read from L1, from the databases of the aggregator
//! and every member, and from what members serve, and compared with the aggregator's answers to the
//! rollup.
//!
//! [`check`] reads and compares; a violation names the batch or number. [`History::violations`]
//! only compares.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use dac_chain::{CertificateLogReader, RecordedCertificate, RegistryReader as _, RpcRegistryReader};
use dac_client::{Dialer, Directory, EndpointPolicy, Hint, RetrieveOptions, Retriever};
use dac_coding::encode;
use dac_database::sqlx::{self, Connection, Row};
use dac_database::u64_from_sql;
use dac_types::{B256, BatchDigest, Certificate, Seat};

use crate::failure::{Context, Failure, Result};
use crate::gate::Mode;
use crate::network::{Network, Service};
use crate::traffic::Accepted;
use crate::{configuration, database, rollup, rpc};

/// A violation of the protocol in a history.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// A batch that the aggregator accepted is not on L1.
    NotRecorded {
        /// The batch number.
        number: u64,
    },
    /// L1 recorded a batch or a number more than once.
    RecordedTwice {
        /// The batch number.
        number: u64,
        /// The number of recordings.
        times: usize,
    },
    /// L1 has a certificate for a batch that the rollup did not submit.
    Stranger {
        /// The batch number.
        number: u64,
    },
    /// The payload could not be retrieved.
    NotRetrievable {
        /// The batch's digest.
        digest: BatchDigest,
        /// The seats that were up and could serve it.
        from: Vec<Seat>,
        /// The retriever's error.
        why: String,
    },
    /// The retrieved payload has other bytes.
    OtherBytes {
        /// The batch's digest.
        digest: BatchDigest,
    },
    /// A member does not serve the shard that it signed for.
    ShardMissing {
        /// The member's seat.
        seat: Seat,
        /// The batch's digest.
        digest: BatchDigest,
        /// The member's error.
        why: String,
    },
    /// A member signed for a batch that its database does not hold.
    SignedWithoutRow {
        /// The member's seat.
        seat: Seat,
        /// The batch's digest.
        digest: BatchDigest,
    },
    /// A submission has two headers in one epoch.
    TwoHeaders {
        /// The submission's EIP-712 digest.
        submission: B256,
        /// The epoch of both headers.
        epoch: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// The size of a batch in a member's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// The bytes that the shard should have.
    pub shard_bytes: u64,
    /// The bytes that the stored rows have.
    pub row_bytes: u64,
}

/// A header of a submission: the submission's digest, the epoch and the batch's digest.
pub type HeaderSeen = (B256, u64, BatchDigest);

/// All that was read of a history.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The certificates that L1 recorded, in L1's order.
    pub recorded: Vec<RecordedCertificate>,
    /// The headers by submission and epoch, from all databases.
    pub headers: Vec<HeaderSeen>,
    /// The signatures that left a member: those in certificates and those that the aggregator
    /// stored.
    pub signatures: BTreeSet<(Seat, BatchDigest)>,
    /// The batches in the members' databases.
    pub rows: BTreeMap<(Seat, BatchDigest), StoredRow>,
    /// Violations that were found while shards and payloads were fetched.
    pub met: Vec<Violation>,
    /// The number of retrievals made.
    pub retrievals: u64,
    /// The number of shards fetched.
    pub shards: u64,
}

impl History {
    /// Compares the history with the batches that the rollup was told are accepted.
    pub fn violations(&self, accepted: &[Accepted]) -> Vec<Violation> {
        let mut found = self.met.clone();
        let numbers: BTreeSet<u64> = accepted.iter().map(|batch| batch.number).collect();
        let mut times: BTreeMap<u64, usize> = BTreeMap::new();
        for recorded in &self.recorded {
            *times.entry(recorded.batch_number).or_default() += 1;
        }
        for (&number, &times) in &times {
            if times > 1 {
                found.push(Violation::RecordedTwice { number, times });
            }
            if !numbers.contains(&number) {
                found.push(Violation::Stranger { number });
            }
        }
        for batch in accepted {
            if !batch.is_short_lived && !times.contains_key(&batch.number) {
                found.push(Violation::NotRecorded { number: batch.number });
            }
        }
        let mut headers: BTreeMap<(B256, u64), BTreeSet<BatchDigest>> = BTreeMap::new();
        for &(submission, epoch, digest) in &self.headers {
            headers.entry((submission, epoch)).or_default().insert(digest);
        }
        for ((submission, epoch), digests) in headers {
            if digests.len() > 1 {
                found.push(Violation::TwoHeaders { submission, epoch });
            }
        }
        for &(seat, digest) in &self.signatures {
            match self.rows.get(&(seat, digest)) {
                None => found.push(Violation::SignedWithoutRow { seat, digest }),
                Some(row) if row.row_bytes != row.shard_bytes => {
                    let why = format!("{} of {} bytes are in its database", row.row_bytes, row.shard_bytes);
                    found.push(Violation::ShardMissing { seat, digest, why });
                }
                Some(_) => {}
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// Reads the history and fails with all violations. All processes must be running, and are left
/// running.
pub async fn check(network: &Network, accepted: &[Accepted]) -> Result<History> {
    let history = read(network, accepted).await?;
    let violations = history.violations(accepted);
    if violations.is_empty() {
        println!(
            "history: {} certificates on L1, {} retrievals, {} shards, {} signatures: all is well",
            history.recorded.len(),
            history.retrievals,
            history.shards,
            history.signatures.len(),
        );
        return Ok(history);
    }
    let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
    Err(Failure::new(format!("{} violations:\n  {}", list.len(), list.join("\n  "))))
}

/// Reads the history.
pub async fn read(network: &Network, accepted: &[Accepted]) -> Result<History> {
    let deployment = network.committee.deployment;
    let log = CertificateLogReader::new(network.anvil.endpoints(), deployment.log);
    let head = log.head().await?.number;
    let mut history = History { recorded: log.recorded_events(0, head).await?, ..History::default() };

    let view = RpcRegistryReader::new(network.anvil.endpoints(), deployment.registry).read(0).await?;
    let directory = Arc::new(Directory::from_view(&view)?);
    let now = rollup::now();
    // A batch that expires during the check proves nothing.
    let lasting: Vec<Lasting<'_>> = history
        .recorded
        .iter()
        .filter(|recorded| recorded.expires_at > now + LOOKING_SECONDS)
        .filter_map(|recorded| {
            let batch = accepted.iter().find(|batch| batch.number == recorded.batch_number)?;
            Some(Lasting { digest: recorded.digest, epoch: recorded.epoch, batch })
        })
        .collect();

    let lasting_digests: BTreeSet<BatchDigest> = lasting.iter().map(|batch| batch.digest).collect();
    let mut signers = BTreeMap::new();
    for batch in &lasting {
        let certificate = rpc::certificate(network.api()?, rpc::by_digest(batch.digest)).await;
        let certificate = Certificate::try_from(certificate.context(batch.digest)?)?;
        let committee = directory.epoch(batch.epoch).context("the epoch's committee")?;
        committee.keys.verify_certificate(&certificate, directory.domain())?;
        let n = committee.committee.quorum().geometry().n();
        let seats: Vec<Seat> = certificate.aggregate.absent.signers(n).collect();
        history.signatures.extend(seats.iter().map(|&seat| (seat, batch.digest)));
        signers.insert(batch.digest, seats);
    }
    read_aggregator(&network.aggregator, &mut history, &lasting_digests).await?;
    for member in &network.members {
        read_member(member.seat, &member.service, &mut history).await?;
    }
    ask_for_shards(network, &lasting, &mut history).await?;
    retrieve_all(network, &directory, &lasting, &signers, &mut history).await?;
    Ok(history)
}

/// The check does not fetch batches that expire within this time, in seconds.
const LOOKING_SECONDS: u64 = 600;

/// A batch on L1 that does not expire soon.
struct Lasting<'a> {
    digest: BatchDigest,
    epoch: u64,
    batch: &'a Accepted,
}

fn hash(bytes: &[u8]) -> Result<B256> {
    Ok(B256::try_from(bytes)?)
}

async fn read_aggregator(
    service: &Service,
    history: &mut History,
    lasting: &BTreeSet<BatchDigest>,
) -> Result<()> {
    let mut connection = database::look(service).await?;
    for row in sqlx::query("SELECT submission_digest, epoch, digest FROM dispersals")
        .fetch_all(&mut connection)
        .await?
    {
        let (submission, digest): (Vec<u8>, Vec<u8>) = (row.try_get(0)?, row.try_get(2)?);
        let epoch = u64_from_sql(row.try_get(1)?);
        history.headers.push((hash(&submission)?, epoch, BatchDigest(hash(&digest)?)));
    }
    let statement = "SELECT m.seat, d.digest FROM members m JOIN dispersals d \
                     ON d.submission_digest = m.submission_digest AND d.epoch = m.epoch \
                     WHERE m.delivery IN ('claimed', 'attested')";
    for row in sqlx::query(statement).fetch_all(&mut connection).await? {
        let digest = BatchDigest(hash(&row.try_get::<Vec<u8>, _>(1)?)?);
        // The rows of expired batches may be gone.
        if lasting.contains(&digest) {
            history.signatures.insert((Seat(u8::try_from(row.try_get::<i64, _>(0)?)?), digest));
        }
    }
    Ok(connection.close().await?)
}

async fn read_member(seat: Seat, service: &Service, history: &mut History) -> Result<()> {
    let mut connection = database::look(service).await?;
    for row in sqlx::query("SELECT submission, epoch, digest FROM submission_headers")
        .fetch_all(&mut connection)
        .await?
    {
        let (submission, digest): (Vec<u8>, Vec<u8>) = (row.try_get(0)?, row.try_get(2)?);
        let epoch = u64_from_sql(row.try_get(1)?);
        history.headers.push((hash(&submission)?, epoch, BatchDigest(hash(&digest)?)));
    }
    let statement = "SELECT b.digest, b.shard_length, \
                     CAST((SELECT COALESCE(SUM(LENGTH(r.data)), 0) FROM shard_rows r WHERE r.shard = b.shard) AS BIGINT) \
                     FROM batches b";
    for row in sqlx::query(statement).fetch_all(&mut connection).await? {
        let digest = BatchDigest(hash(&row.try_get::<Vec<u8>, _>(0)?)?);
        let (shard_bytes, row_bytes): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
        let stored = StoredRow {
            shard_bytes: shard_bytes.max(0).cast_unsigned(),
            row_bytes: row_bytes.max(0).cast_unsigned(),
        };
        history.rows.insert((seat, digest), stored);
    }
    Ok(connection.close().await?)
}

/// Checks that every member that signed serves its shard, and that it equals what the payload
/// encodes to.
async fn ask_for_shards(network: &Network, lasting: &[Lasting<'_>], history: &mut History) -> Result<()> {
    let geometry = network.committee.quorum.geometry();
    for &Lasting { digest, batch, .. } in lasting {
        let encoded = encode(geometry, batch.payload.clone(), batch.batch_hash)?;
        for member in &network.members {
            if !history.signatures.contains(&(member.seat, digest)) {
                continue;
            }
            history.shards += 1;
            let why = match rpc::shard(member.retrieval()?, digest).await {
                Ok(shard) if encoded.shard(member.seat) == shard => continue,
                Ok(_) => "other bytes than were committed to".to_owned(),
                Err(status) => status.to_string(),
            };
            history.met.push(Violation::ShardMissing { seat: member.seat, digest, why });
        }
    }
    Ok(())
}

/// Checks that every batch can be retrieved from its signers without any q − k of them, and without
/// all other members.
async fn retrieve_all(
    network: &Network,
    directory: &Arc<Directory>,
    lasting: &[Lasting<'_>],
    signers: &BTreeMap<BatchDigest, Vec<Seat>>,
    history: &mut History,
) -> Result<()> {
    let (k, q) = (network.committee.quorum.geometry().k(), network.committee.quorum.q());
    let mut by_seats: BTreeMap<Vec<Seat>, Vec<&Lasting<'_>>> = BTreeMap::new();
    for batch in lasting {
        for left in without_any(&signers[&batch.digest], usize::from(q - k)) {
            by_seats.entry(left).or_default().push(batch);
        }
    }
    for (open, batches) in by_seats {
        for member in &network.members {
            let gate = member.service.gate(configuration::RETRIEVAL);
            if open.contains(&member.seat) {
                gate.reopen();
            } else {
                gate.set(Mode::Shut);
            }
        }
        let options = RetrieveOptions { attempts_max: 1, ..RetrieveOptions::default() };
        let retriever =
            Retriever::new(Arc::clone(directory), Dialer::new(EndpointPolicy::AllowPrivate), options);
        for &&Lasting { digest, epoch, batch } in &batches {
            history.retrievals += 1;
            let hint = Hint { epoch: Some(epoch), ..Hint::default() };
            match Box::pin(retriever.retrieve(digest, &hint, |_| ())).await {
                Ok(retrieved) if retrieved.payload == batch.payload => {}
                Ok(_) => history.met.push(Violation::OtherBytes { digest }),
                Err(error) => {
                    let (from, why) = (open.clone(), error.to_string());
                    history.met.push(Violation::NotRetrievable { digest, from, why });
                }
            }
        }
    }
    for member in &network.members {
        member.service.gate(configuration::RETRIEVAL).reopen();
    }
    Ok(())
}

/// Returns all ways to leave out `left_out` seats.
fn without_any(seats: &[Seat], left_out: usize) -> Vec<Vec<Seat>> {
    if left_out == 0 {
        return vec![seats.to_vec()];
    }
    let mut ways = BTreeSet::new();
    for leave in 0..seats.len() {
        let rest: Vec<Seat> =
            seats.iter().enumerate().filter(|(index, _)| *index != leave).map(|(_, &seat)| seat).collect();
        ways.extend(without_any(&rest, left_out - 1));
    }
    ways.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_to_leave_seats_out() {
        let seats = [Seat(0), Seat(2), Seat(3)];
        assert_eq!(without_any(&seats, 0), [seats.to_vec()]);
        assert_eq!(without_any(&seats, 1).len(), 3);
        assert_eq!(without_any(&seats, 2), [vec![Seat(0)], vec![Seat(2)], vec![Seat(3)]]);
    }
}
