//! The whole system under load: real processes of the release profile on this machine's loopback, durable stores, a real chain.
//!
//! | room | what |
//! |---|---|
//! | [`setting`] | which system: seats, store, TLS |
//! | [`arena`] | its processes, and a rollup that puts load on them |
//! | [`usage`] | what a process used up, by `/proc` |
//! | [`floor`] | the CPU work that nobody can do without, measured in the same run |
//! | [`rates`] | capacity, latencies below it, what they cost |
//! | [`retrieval`] | payloads back from members, with systematic ones and without |
//! | [`repair`] | one member loses its disk |

pub mod arena;
pub mod floor;
pub mod rates;
pub mod repair;
pub mod retrieval;
pub mod setting;
pub mod usage;
