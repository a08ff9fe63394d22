#![doc = include_str!("../README.md")]

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
pub mod service;
pub mod shutdown;
pub mod tally;
pub mod telemetry;
pub mod tls;
pub mod workers;
