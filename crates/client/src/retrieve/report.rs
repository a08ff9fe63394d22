//! What each member did in a retrieval.

use std::time::Duration;

use dac_types::{Address, Seat};

use crate::fault::MemberFault;
use crate::text::printable;

/// A member that did not serve the record.
#[derive(Clone, Debug)]
pub struct RecordFault {
    /// Who.
    pub operator: Address,
    /// Where.
    pub url: String,
    /// What went wrong.
    pub fault: MemberFault,
}

/// How often a member was asked, where that was more than once.
fn tries(attempts: u32) -> String {
    if attempts > 1 { format!(", asked {attempts} times") } else { String::new() }
}

/// What one member did in a retrieval.
#[derive(Clone, Debug)]
pub struct MemberReport {
    /// Its seat in the batch's epoch.
    pub seat: Seat,
    /// Its operator.
    pub operator: Address,
    /// Where it was asked.
    pub url: String,
    /// What came of the last attempt.
    pub outcome: ShardOutcome,
    /// How often it was asked.
    pub attempts: u32,
    /// How long the last attempt took.
    pub latency: Duration,
}

/// What came of asking one member for its shard.
#[derive(Clone, Debug)]
pub enum ShardOutcome {
    /// It served a shard that passed the member's check.
    Served {
        /// Bytes of it.
        bytes: usize,
    },
    /// It did not.
    Failed(MemberFault),
    /// Others were faster; given up without a verdict.
    Overtaken,
}

/// What every member that was asked did.
#[derive(Clone, Debug, Default)]
pub struct RetrievalReport {
    /// Each member once, in the order in which their last attempts came to an end.
    pub members: Vec<MemberReport>,
    /// Members that did not serve the record.
    pub record_faults: Vec<RecordFault>,
}

impl RetrievalReport {
    /// What members did wrong, and who.
    pub fn faults(&self) -> impl Iterator<Item = (Address, &MemberFault)> {
        let of_shards = self.members.iter().filter_map(|member| match &member.outcome {
            ShardOutcome::Failed(fault) => Some((member.operator, fault)),
            ShardOutcome::Served { .. } | ShardOutcome::Overtaken => None,
        });
        self.record_faults.iter().map(|fault| (fault.operator, &fault.fault)).chain(of_shards)
    }

    /// Members that failed, in words.
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

    /// Seats whose committed shard is not of the code: the disperser's doing.
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
