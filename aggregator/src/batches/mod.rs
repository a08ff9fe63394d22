//! All batches of a process: those that are worked on have a task each, those that are dormant wait
//! for a proof without one, and the others are read from the store.

mod budgets;
mod delivery;
mod dormant;
pub(crate) mod metrics;
mod oldest;
mod ownership;
mod proofs;
mod prove;
mod registry;
mod start;
mod task;
mod wake;

pub use self::budgets::Budgets;
pub(crate) use self::ownership::{Ownership, PosterParts};
pub use self::ownership::{OwnershipError, SHARE_INTERVAL};
pub use self::proofs::ProofOutcome;
pub use self::registry::{Batches, Selector, Watched};
pub use self::start::Submitted;
