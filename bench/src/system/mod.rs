//! Measures the whole system under load: real processes of the release profile that talk over this
//! machine's loopback, durable stores, a real chain.
//!
//! | module | contents | |---|---| | [`plan`] | which systems are measured, with which payloads,
//! and for how long | | [`setting`] | the description of one system: seats, store, TLS | |
//! [`arena`] | the processes of a system, and a rollup that puts load on them | | [`usage`] | CPU,
//! memory and written bytes of a process, from `/proc` | | [`postgres`] | the PostgreSQL server
//! that the processes use | | [`cold`] | removing files from the kernel's cache | | [`floor`] | the
//! CPU work that any implementation needs, measured in the same run | | [`capacity`] | the highest
//! rate, and its cost | | [`latency`] | the latency from submission to certificate, below capacity
//! | | [`retrieval`] | retrieval of payloads, with and without the members that hold rows | |
//! [`room`] | free space on the disk for what a load stores | | [`repair`] | repair after one
//! member has lost its disk |

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
