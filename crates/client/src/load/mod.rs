//! Load on a committee: batches of random bytes, submitted when a clock says so and not when the
//! last one was done.
//!
//! | room | what |
//! |---|---|
//! | [`LoadPlan`] | what is offered: [`Rate`], [`Sizes`], for how long |
//! | [`Schedule`] | when which batch is due; nothing here knows how the service fares |
//! | [`Statistics`], [`Summary`] | what came of it |
//! | [`run`] | the sending itself |
//!
//! The load is *open-loop*: arrivals are due by the clock alone, and a latency counts from the
//! moment an arrival was due. A service that stands still for a second is charged that second by
//! every batch that was due in it, as its users would be ([coordinated
//! omission](https://groups.google.com/g/mechanical-sympathy/c/icNZJejUHfE) is measuring the
//! patient ones only). An arrival that finds the bound of batches in flight reached is dropped and
//! counted, never sent late. [`Rate::Saturate`] alone is closed-loop, for finding a capacity: its
//! latencies say little.

mod plan;
mod run;
mod schedule;
mod statistics;

pub use plan::{LoadPlan, LoadPlanError, Rate, Sizes};
pub use run::{Target, run};
pub use schedule::{Arrival, Schedule};
pub use statistics::{Latencies, Outcome, Snapshot, Statistics, Summary};
