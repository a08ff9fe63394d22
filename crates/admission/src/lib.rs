#![doc = include_str!("../README.md")]
//!
//! ## Rules
//!
//! A [`Budget`] is given out under these rules:
//!
//! * No party holds more than the share that its claim names, so that some of the budget is left
//!   for others.
//! * Small claims pass a large one that waits, but only until they have passed it by as much as the
//!   whole budget.
//! * Among waiting claims, the party that holds least comes first; among those that hold equally
//!   little, the one that has waited longest since its last turn; within a party, the claim that
//!   came first.
//!
//! Therefore no claim waits for ever as long as everything that is held is given back in bounded
//! time. [`Pace`] ensures this for transfers: it demands a rate of bytes and does not rely on what
//! a client announced.

mod budget;
mod fair;
mod gate;
mod pace;

pub use budget::{Budget, Claim, Limit, Party, QueueLimits, Queued, Refused, Share, Ticket};
pub use fair::{FairQueue, Full};
pub use gate::{Admission, Permit};
pub use pace::{Pace, Rate, TooSlow};
