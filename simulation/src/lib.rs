//! The production aggregator and a committee of production members in a simulated world. Every host
//! has its own runtime, and all run on one thread. Network, disks, clocks and L1 are simulated, and
//! all randomness comes from the seed.
//!
//! [`run`] runs the history of one seed. Batches are submitted while hosts are killed and started
//! again, the network fails, L1 is reorganised, and some members lie. Then the faults end, pending
//! work must finish, and the history is checked.
//!
//! | module | contents |
//! |---|---|
//! | `world` | the history of one seed |
//! | `cast` | keys, committee, registry |
//! | `network`, `clock`, `store` | network, time and disk for production code |
//! | `l1` | one chain, and each host's view of it |
//! | `member`, `disperser`, `auditor` | production code on simulated hosts |
//! | `byzantine` | members that lie |
//! | `faults` | the faults and their times |
//! | `witness`, `checker` | what happened, and the rules that it must keep |
//! | `trace` | the hash of everything that happened |

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
