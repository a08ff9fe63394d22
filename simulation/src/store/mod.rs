//! The stores of the services in memory. What was committed survives a service that is killed, and
//! what was not is lost with it.

mod aggregator;
mod disk;
mod member;

pub(crate) use aggregator::AggregatorMemory;
pub use member::Flaw;
pub(crate) use member::{Held, MemberMemory};
