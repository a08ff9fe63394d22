//! A batch's life (section 8 of `docs/protocol.md`) as a pure state machine, without clock or I/O.
//!
//! [`Batch::apply`] takes an [`Event`] and returns the [`Action`]s that follow from it. The batch's
//! task (`batches::task`) persists the new state before it acts. After a restart it applies
//! [`Event::Resumed`] to the persisted state and goes on in the same way.
//!
//! | file | content |
//! |---|---|
//! | `id`, `number` | what a batch is called, and whether its number is free |
//! | `state`, `dispersal`, `proof`, `failure`, `obstruction` | the state that `apply` changes |
//! | `event` | what happens to a batch, and what is to be done then |
//! | `transitions`, `settling`, `waiting`, `ending`, `deliveries` | the rules that lead from one state to the next |

mod deliveries;
mod dispersal;
mod ending;
mod event;
mod failure;
mod id;
mod number;
mod obstruction;
mod proof;
mod settling;
mod state;
mod text;
mod transitions;
mod waiting;

#[cfg(test)]
mod settling_tests;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod waiting_tests;

pub use self::dispersal::{Delivery, Dispersal, MemberOutcome};
pub use self::event::{Action, DeliveryFailure, Event};
pub use self::failure::{Failure, FailureReason};
pub use self::id::SubmissionDigest;
pub use self::number::{Holder, NumberTaken, may_take_number};
pub use self::obstruction::{Obstruction, Waiting};
pub use self::proof::{Proof, ProofRefusal, ProofState, ProofVerdict};
pub use self::state::{Batch, Certified, L1Record, Phase};
