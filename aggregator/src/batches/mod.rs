//! All batches of a process. Each batch that is worked on has a task. A dormant batch waits for its
//! proof without a task. All other batches are read from the store when a client asks for them.

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
