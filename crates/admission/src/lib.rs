//! Shares of what is scarce: memory, places, calls, watchers.
//!
//! Every server of this project is used by parties that do not trust each other: rollups, dispersers, clients of an
//! address. A [`Budget`] is given out to them such that
//!
//! * no party holds more than the share that its claim names, so the others find something left;
//! * small claims pass a large one that waits, but only until as much as the whole budget has passed it;
//! * where a claim waits, the party that holds least comes first, and within a party the claim that came first.
//!
//! So no claim waits for ever as long as what is held is given back in bounded time, which is what [`Pace`] is for: it
//! demands a rate of bytes instead of believing what a client announced.
//!
//! Where turns are given out instead of amounts, a [`FairQueue`] has them go round between the parties.
//!
//! [`Budget`] is the pure state machine. [`Admission`] is the same for async tasks: it hands out [`Permit`]s, which give
//! back when they are dropped.

mod budget;
mod fair;
mod gate;
mod pace;

pub use budget::{Budget, Claim, Limit, Party, QueueLimits, Refused, Share, Ticket};
pub use fair::{FairQueue, Full};
pub use gate::{Admission, Permit};
pub use pace::{Pace, Rate, TooSlow};
