//! A member of the committee. It takes one shard of each batch, checks it, stores it, signs for it,
//! and serves it.
//!
//! | module | contents |
//! |---|---|
//! | [`program`], [`config`] | the process and its configuration file |
//! | [`member`], [`reader`] | starting a member, or a read-only server of one |
//! | [`node`] | either of them while it runs |
//! | [`grpc`] | the services |
//! | [`context`] | what the services share |
//! | [`admit`] | the decision whether a batch is taken, in pure functions |
//! | [`verify`] | the member's check of its shard, and the way into the store beside it |
//! | [`store`] | durable shards, records and quotas |
//! | [`attest`] | store, then sign |
//! | [`certificates`] | the check of certificates that come with records |
//! | [`accusations`] | counts of what dispersers and rollups did that an honest one does not do |
//! | [`limits`] | the bounds of what callers may use up |
//! | [`sync`] | the reading of L1: which shards are owed |
//! | [`duties`] | the seats whose shards this member owes, in pure functions |
//! | [`repair`] | the repair of shards that are owed and not held |
//! | [`scrub`] | the re-verification of what is stored |
//! | [`retain`] | the deletion of batches that have expired |
//! | [`skew`] | the comparison of this clock with L1's |

pub mod accusations;
pub mod admit;
pub mod attest;
pub mod certificates;
pub mod config;
pub mod context;
pub mod duties;
pub mod grpc;
mod health;
pub mod limits;
pub mod member;
mod metrics;
pub mod node;
pub mod program;
pub mod reader;
pub mod repair;
pub mod retain;
pub mod scrub;
pub mod skew;
pub mod store;
pub mod sync;
#[cfg(any(test, feature = "testing"))]
#[cfg_attr(not(test), allow(dead_code, reason = "a part of it is for the tests of this crate"))]
mod testing;
#[cfg(test)]
mod tests;
pub mod verify;
