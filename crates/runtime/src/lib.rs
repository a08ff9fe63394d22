//! What the programs share: configuration, telemetry, TLS, bounded gRPC servers, shutdown and the clock.

pub mod clock;
pub mod config;
pub mod failpoint;
pub mod grpc;
pub mod monitor;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
