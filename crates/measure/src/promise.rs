//! The promises of the service that tests check and the report lists.

use serde::{Deserialize, Serialize};

/// One promise of the service. [`Promise::words`] has its full text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promise {
    /// A killed process loses nothing.
    SurvivesKills,
    /// A process that is killed at any of its durable steps loses nothing.
    EveryFailPoint,
    /// A killed database server loses nothing.
    SurvivesDatabaseKills,
    /// Several aggregators can share one PostgreSQL.
    SharedDatabase,
    /// The history checker notices every fault that it must find.
    CheckerSees,
    /// Calls that are cancelled lose nothing that was acknowledged.
    Cancelled,
    /// A commit whose outcome is unknown is looked up before anything is signed.
    UnknownOutcome,
    /// Database settings that can lose acknowledged data are refused.
    SafeDatabase,
    /// Data that changes on a disk is found, never served, and repaired.
    RotIsFound,
    /// A torn write-ahead log loses nothing that was signed.
    TornLog,
    /// A full disk is reported and loses nothing.
    FullDisk,
    /// A member with a restored backup or an empty folder knows what it owes and repairs it.
    HealsAfterRestore,
    /// Data is deleted when its time is over, and not before.
    Retention,
    /// Coverage is renewed by members that hold everything.
    Renewal,
    /// Keys and operators can be changed under load.
    Rotation,
    /// The commands of docs/operations.md do what the page says.
    Runbook,
    /// Read-only servers serve a member's shards.
    Readers,
    /// Databases of earlier versions are migrated.
    Schema,
    /// Fields and values of later versions are handled on the wire.
    LaterVersions,
    /// Loss, delay and one-way cuts of the network lose no batch.
    BadNetwork,
    /// A clock that is a day wrong does no harm.
    WrongClock,
    /// L1 may take blocks back, block a nonce and drop transactions.
    UnreliableL1,
    /// Aggregator and members keep their promises in the deterministic simulation.
    Simulation,
    /// A seed determines the whole history of a simulation.
    SameTrace,
    /// Lying members, aggregators and rollups do no harm.
    Byzantine,
}

impl Promise {
    /// All promises in the order of the report.
    pub const ALL: [Self; 25] = [
        Self::SurvivesKills,
        Self::EveryFailPoint,
        Self::SurvivesDatabaseKills,
        Self::SharedDatabase,
        Self::CheckerSees,
        Self::Cancelled,
        Self::UnknownOutcome,
        Self::SafeDatabase,
        Self::RotIsFound,
        Self::TornLog,
        Self::FullDisk,
        Self::HealsAfterRestore,
        Self::Retention,
        Self::Renewal,
        Self::Rotation,
        Self::Runbook,
        Self::Readers,
        Self::Schema,
        Self::LaterVersions,
        Self::BadNetwork,
        Self::WrongClock,
        Self::UnreliableL1,
        Self::Simulation,
        Self::SameTrace,
        Self::Byzantine,
    ];

    /// Returns the promise in words, as the report shows it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::SurvivesKills => {
                "kill −9 of members and aggregator, at any time: what was accepted reaches L1 once, what was signed is served"
            }
            Self::EveryFailPoint => {
                "the same when a process dies at each of its durable steps, on SQLite and on PostgreSQL"
            }
            Self::SurvivesDatabaseKills => {
                "kill −9 of PostgreSQL, its backends, an immediate stop: the same holds"
            }
            Self::SharedDatabase => {
                "aggregators over one PostgreSQL: killed or stopped at any time and at each durable step, the others go on and nothing is posted twice"
            }
            Self::CheckerSees => "the checker of histories finds each planted fault that it must find",
            Self::Cancelled => {
                "calls that are cancelled under load, at any point, lose nothing that was acknowledged (sqlx issue 4385)"
            }
            Self::UnknownOutcome => {
                "a commit whose outcome is unknown is read again on a fresh connection before anything is signed"
            }
            Self::SafeDatabase => {
                "PostgreSQL with settings that lose commits is refused, by the name of the setting, with and without standbys; SQLite synchronises each commit"
            }
            Self::RotIsFound => "bytes that changed on a member's disk are found, never served, and repaired",
            Self::TornLog => {
                "a write-ahead log that is torn or garbled at its end loses nothing that was signed"
            }
            Self::FullDisk => {
                "a full disk is reported and no data is lost; with room again the service goes on"
            }
            Self::HealsAfterRestore => {
                "after a restored backup or with an empty data folder a member repairs what it owes, and signs no renewal until all is back; new batches it signs meanwhile; an aggregator posts nothing twice and loses nothing"
            }
            Self::Retention => {
                "nothing is deleted before its time by the clock and by L1, renewed batches at their new time; what was deleted gives its space back"
            }
            Self::Renewal => {
                "coverage is renewed before it runs short, signed only by members that hold every settled batch, and kept"
            }
            Self::Rotation => {
                "a seat gets another key or another operator under load: no batch in flight is lost, the newcomer repairs what its seat owes, the key that left signs nothing new and its operator serves"
            }
            Self::Runbook => {
                "each block of the runbook does what the page says: backup, restore, lost disk, readers, rotation"
            }
            Self::Readers => "read-only servers serve what the member stored, beside it, and sign nothing",
            Self::Schema => {
                "databases are migrated on start, completely or not at all, and a newer schema is refused"
            }
            Self::LaterVersions => {
                "fields that a later version sends are ignored; values of enumerations that it sends are refused by name"
            }
            Self::BadNetwork => "loss, delay and cuts, one-way ones too, delay batches and lose none",
            Self::WrongClock => {
                "a clock that is a day wrong deletes nothing early and signs nothing wrong; set right, all goes on"
            }
            Self::UnreliableL1 => {
                "blocks taken back, a stuck nonce, dropped transactions: recorded once in the end"
            }
            Self::Simulation => {
                "aggregator and members keep their promises in a simulation of their production code with simulated time, crashes, partitions and liars"
            }
            Self::SameTrace => {
                "two runs of one seed of the simulation leave the same trace, and planted faults are found"
            }
            Self::Byzantine => {
                "lying members, aggregators and rollups: refused by name, attributed, and no harm done"
            }
        }
    }
}
