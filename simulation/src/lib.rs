#![doc = include_str!("../README.md")]
//!
//! ## Modules
//!
//! [`run`] runs the history of one seed.
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

pub use store::Flaw;
pub use trace::TraceHash;
pub use world::{Report, Shape, run};
