//! What the programs share: configuration, telemetry, TLS, clients' shares, bounded gRPC servers, shutdown, the clock, worker threads and tallies.

pub mod alarm;
pub mod allocator;
pub mod clients;
pub mod clock;
pub mod config;
pub mod descriptors;
pub mod failpoint;
pub mod grpc;
pub mod monitor;
mod process;
pub mod shutdown;
pub mod tally;
pub mod telemetry;
pub mod tls;
pub mod workers;
