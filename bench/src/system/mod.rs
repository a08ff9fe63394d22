//! The whole system under load: real processes of the release profile on this machine's loopback,
//! durable stores, a real chain.
//!
//! | room | what |
//! |---|---|
//! | [`plan`] | which systems, with which payloads, for how long |
//! | [`setting`] | one system: seats, store, TLS |
//! | [`arena`] | its processes, and a rollup that puts load on them |
//! | [`usage`] | what a process used up, by `/proc` |
//! | [`postgres`] | the database server behind them |
//! | [`cold`] | files out of the kernel's cache |
//! | [`floor`] | the CPU work that nobody can do without, measured in the same run |
//! | [`capacity`] | what it can do at most, and what that costs |
//! | [`latency`] | to the certificate, below capacity |
//! | [`retrieval`] | payloads back from members, with systematic ones and without |
//! | [`room`] | on the disk, for what a load stores |
//! | [`repair`] | one member loses its disk |

pub mod arena;
pub mod capacity;
pub mod cold;
pub mod floor;
pub mod latency;
pub mod plan;
pub mod postgres;
pub mod repair;
pub mod retrieval;
pub mod room;
pub mod setting;
pub mod usage;
