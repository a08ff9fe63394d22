#![doc = include_str!("../README.md")]
//!
//! ## Main items
//!
//! | item | meaning |
//! |---|---|
//! | [`SubmissionBuilder`], [`AggregatorClient`] | a rollup submits a payload, waits, and fetches its certificate |
//! | [`SignedProof`] | a rollup signs a validity proof and hands it to the aggregator |
//! | [`Retriever`] | retrieves a batch's payload from any k members; no aggregator is needed |
//! | [`Retriever::collect`] | collects what a member needs to rebuild its own shard of a batch from the other members |
//! | [`load`] | measures how fast an aggregator and its committee are, and what happens to batches under overload |
//! | [`Rotation`] | plans the next epoch, in which exactly the named seats change hands |
//! | [`Auditor`] | checks random chunks, records and whole shards of every member |
//! | [`verify`] | verifies certificates against a committee file, the registry and the log on L1 |
//! | [`assessment`] | assesses the safety of a committee from its numbers |
//! | [`files`] | certificates, committees, deployments and submissions as JSON files |
//!
//! The URLs of members come from the operators that registered them. [`EndpointPolicy`] decides
//! which addresses the client connects to.

pub mod assessment;
mod attempts;
mod audit;
mod batch;
mod cause;
mod connect;
mod description;
mod directory;
mod endpoint;
mod fault;
pub mod files;
mod hexadecimal;
mod list;
#[cfg(feature = "load")]
pub mod load;
mod member;
mod obstacles;
mod pace;
mod proof;
mod retrieve;
mod rotation;
mod status;
mod submission;
mod submit;
mod text;
pub mod verify;
mod waiting;
mod work;

pub use attempts::SubmitOptions;
pub use audit::{
    AuditOptions, AuditPlan, AuditReport, AuditRow, AuditSummary, AuditTarget, AuditVerdict, AuditedBatch,
    Auditor, CheckKind, CheckResult, Findings, SeatContact, SeatsChecked, UnauditedBatch, is_owed,
    sample_owed,
};
pub use batch::{AggregatorClient, AggregatorError, BatchSelector};
pub use cause::ConnectionCause;
pub use connect::{Connection, Dialer, Generation, Network, SystemNetwork};
pub use description::{
    AggregatorDescription, ClaimedSeat, MemberDescription, Readiness, ReportedAccusation, ReportedBadSeat,
    ReportedFault, ReportedPayer, WaitingBatch,
};
pub use directory::{Directory, EpochCommittee, Holder};
pub use endpoint::{EndpointError, EndpointPolicy, EndpointUrl, is_loopback_url};
pub use fault::{FaultClass, MemberFault};
pub use list::{ListQuery, Page, StoredBatch};
pub use member::{MemberClient, Patience, ReceivedChunk};
pub use obstacles::{Obstacle, ToldObstacles};
pub use pace::{Pace, Throttle};
pub use proof::SignedProof;
pub use retrieve::{
    Collected, CollectedShards, Evidence, FoundRecord, Hint, MemberReport, Progress, RecordFault,
    RecordSource, RetrievalReport, RetrieveError, RetrieveOptions, Retrieved, Retriever, Settled,
    ShardOutcome, Wanted, check_record, fetch_record,
};
pub use rotation::{Change, Rotation, RotationError};
pub use status::{BatchState, BatchStatus, DeliveryState, L1Status, MemberStatus, ProofState, ProofStatus};
pub use submission::{
    CertifiedPayloadError, SubmissionBuilder, SubmissionError, check_certified_payload, check_payload,
    check_payload_length, check_payload_of_header,
};
pub use submit::SubmitProgress;
pub use text::printable;
pub use waiting::Waiting;
