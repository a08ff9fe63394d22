#![doc = include_str!("../README.md")]

pub mod attacker;
pub mod command;
pub mod configuration;
pub mod database;
pub mod death;
pub mod disk;
pub mod disperser;
pub mod failure;
pub mod gate;
pub mod history;
pub mod keys;
pub mod l1_proxy;
pub mod later;
pub mod liar;
pub mod measure;
pub mod monitoring;
pub mod network;
pub mod operator;
pub mod pki;
pub mod postgres;
pub mod process;
pub mod rollup;
pub mod rot;
pub mod rpc;
pub mod settlement;
pub mod standstill;
pub mod traffic;
pub mod wait;

pub use failure::{Context, Failure, Result};

/// Chooses the TLS implementation of the process: two are compiled in, and without a choice the
/// first connection panics.
pub fn install_tls_provider() {
    dac_runtime::tls::install_provider();
}

/// One way to make a valid value invalid: its name, the reason with which it is refused, and the
/// change.
pub type Spoiled<'a, T> = (&'a str, dac_proto::reason::Reason, &'a dyn Fn(&mut T));
