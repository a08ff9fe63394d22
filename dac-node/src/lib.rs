//! A member of the committee. It takes one shard of each batch, checks it, stores it, signs for it,
//! and serves it.
//!
//! | module | what |
//! |---|---|
//! | [`program`], [`config`] | the process and its configuration file |
//! | [`member`], [`reader`] | a member, and a read-only server of one, built of their parts |
//! | [`node`] | either of them while it runs |
//! | [`grpc`] | the services |
//! | [`context`] | what the services share |
//! | [`admit`] | whether a batch is taken: pure |
//! | [`verify`] | the member's check, and the way into the store beside it |
//! | [`store`] | shards, records and quotas, durable |
//! | [`attest`] | store, then sign |
//! | [`certificates`] | certificates that come with records |
//! | [`accusations`] | what dispersers and rollups did that an honest one does not |
//! | [`limits`] | what callers may use up |
//! | [`sync`] | what L1 says that is owed |
//! | [`duties`] | whose seats' shards this member owes: pure |
//! | [`repair`] | brings back what is owed and not held |
//! | [`scrub`] | looks again at what is stored |
//! | [`retain`] | deletion of what has expired |
//! | [`skew`] | this clock against L1's |

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
