//! The two halves of a member's storage in memory.
//!
//! Every commit takes simulated time and runs in a task of its own, as in the SQL store. A member
//! that is killed dies before it, after it, or between the commit and its answer.

mod catalog;
mod duties;
mod renewals;
mod rounds;
mod shards;
mod tables;
#[cfg(test)]
mod tests;

pub use tables::Flaw;
pub(crate) use tables::{Held, MemberMemory};
