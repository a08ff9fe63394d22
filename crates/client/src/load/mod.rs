//! Puts load on a committee: it submits batches of random bytes at times that a clock sets, without
//! waiting for earlier batches.
//!
//! | item | meaning |
//! |---|---|
//! | [`LoadPlan`] | the load: [`Rate`], [`Sizes`] and duration |
//! | [`Schedule`] | the times at which batches are due, independent of how the service fares |
//! | [`Statistics`], [`Summary`] | the results |
//! | [`run`] | the sending |
//!
//! The load is *open-loop*: batches are due by the clock alone, and a latency counts from the
//! moment at which a batch was due. If a service stops for a second, every batch that was due in
//! that second shows the delay, as its users would see it (measuring only batches that waited for
//! their turn is [coordinated
//! omission](https://groups.google.com/g/mechanical-sympathy/c/icNZJejUHfE)). A batch that would
//! exceed the bound of batches in flight is dropped and counted, never sent late. Only
//! [`Rate::Saturate`] is closed-loop, for finding a capacity: its latencies say little.

mod plan;
mod run;
mod schedule;
mod statistics;

pub use plan::{LoadPlan, LoadPlanError, Rate, Sizes};
pub use run::{Target, run};
pub use schedule::{Arrival, Schedule};
pub use statistics::{Latencies, Outcome, Snapshot, Statistics, Summary};
