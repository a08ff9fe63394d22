//! Reports what each member did in a retrieval.

use std::time::Duration;

use dac_types::{Address, Seat};

use crate::fault::MemberFault;
use crate::text::printable;

/// A member that did not serve the record.
#[derive(Clone, Debug)]
pub struct RecordFault {
    /// The member's operator.
    pub operator: Address,
    /// The URL where it was asked.
    pub url: String,
    /// The fault.
    pub fault: MemberFault,
}

/// How often a member was asked, in words; empty if it was asked once.
fn tries(attempts: u32) -> String {
    if attempts > 1 { format!(", asked {attempts} times") } else { String::new() }
}

/// What one member did in a retrieval.
#[derive(Clone, Debug)]
pub struct MemberReport {
    /// The member's seat in the batch's epoch.
    pub seat: Seat,
    /// The member's operator.
    pub operator: Address,
    /// The URL where it was asked.
    pub url: String,
    /// The outcome of the last attempt.
    pub outcome: ShardOutcome,
    /// How often the member was asked.
    pub attempts: u32,
    /// The duration of the last attempt.
    pub latency: Duration,
}

/// The outcome of asking one member for its shard.
#[derive(Clone, Debug)]
pub enum ShardOutcome {
    /// The member served a shard that passed the member's check.
    Served {
        /// The length of the shard in bytes.
        bytes: usize,
    },
    /// The member did not serve a good shard.
    Failed(MemberFault),
    /// Other members were faster; the request was cancelled without a verdict.
    Overtaken,
}

/// What each member that was asked did.
#[derive(Clone, Debug, Default)]
pub struct RetrievalReport {
    /// One report for each member, in the order in which their last attempts ended.
    pub members: Vec<MemberReport>,
    /// Members that did not serve the record.
    pub record_faults: Vec<RecordFault>,
}

impl RetrievalReport {
    /// Returns the faults of members and the operators that committed them.
    pub fn faults(&self) -> impl Iterator<Item = (Address, &MemberFault)> {
        let of_shards = self.members.iter().filter_map(|member| match &member.outcome {
            ShardOutcome::Failed(fault) => Some((member.operator, fault)),
            ShardOutcome::Served { .. } | ShardOutcome::Overtaken => None,
        });
        self.record_faults.iter().map(|fault| (fault.operator, &fault.fault)).chain(of_shards)
    }

    /// Lists the members that failed, in words.
    pub(super) fn list(&self) -> String {
        self.members
            .iter()
            .filter_map(|member| match &member.outcome {
                ShardOutcome::Failed(fault) => Some(format!(
                    "\n  seat {} {} ({}): {fault}{}",
                    member.seat,
                    member.operator,
                    printable(&member.url),
                    tries(member.attempts)
                )),
                _ => None,
            })
            .collect()
    }

    /// Returns the seats whose committed shards do not match the other shards. That is the
    /// disperser's fault.
    pub fn bad_seats(&self) -> Vec<Seat> {
        let mut seats: Vec<Seat> = self
            .members
            .iter()
            .filter(
                |member| matches!(&member.outcome, ShardOutcome::Failed(fault) if fault.accuses_disperser()),
            )
            .map(|member| member.seat)
            .collect();
        seats.sort_unstable();
        seats.dedup();
        seats
    }
}
