//! The production aggregator and a committee of production members in a simulated world: every host a runtime of its own on one
//! thread, network, disks, clocks and L1 simulated, chance drawn from the seed alone.
//!
//! [`run`] lives through one seed: batches are submitted, hosts are killed and started again, the network fails, L1 is
//! reorganised, some members lie; then all of that stops, what is pending has to come to its end, and the history is checked.
//!
//! | room | what |
//! |---|---|
//! | `world` | one seed from its beginning to its end |
//! | `cast` | keys, committee, registry |
//! | `network`, `clock`, `store` | what production code sees of network, time and disk |
//! | `l1` | one chain, and each host's view of it |
//! | `member`, `disperser`, `auditor` | production code on hosts |
//! | `byzantine` | members that lie |
//! | `faults` | what goes wrong, and when |
//! | `witness`, `checker` | what happened, and what must hold of it |
//! | `trace` | the hash of all of it |

mod auditor;
mod byzantine;
mod cast;
mod checker;
mod clock;
mod disperser;
mod faults;
mod l1;
mod member;
mod network;
mod panics;
mod store;
mod trace;
mod witness;
mod world;

pub use dac_node::store::Flaw;
pub use trace::TraceHash;
pub use world::{Report, Shape, run};
