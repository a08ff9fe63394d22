//! The aggregator, or disperser: takes a rollup's batch, spreads it over the committee, makes the
//! certificate and records it on L1, or has the rollup settle the batch with its validity proof. It
//! is trusted for nothing but liveness.
//!
//! | module | what |
//! |---|---|
//! | [`program`], [`config`] | the process and its configuration file |
//! | [`aggregator`] | the aggregator, built of its parts |
//! | [`batches`] | all batches; one task for each that has work left |
//! | [`grpc`], [`convert`] | `BatchService`: uploads, proofs, queries, watching |
//! | [`submit`] | whether a submission is taken |
//! | [`batch`] | a batch's life as a pure state machine |
//! | [`encode`], [`members`] | payload to shards and header; calls to members |
//! | [`collect`] | signatures to certificate |
//! | [`post`] | certificates and settlements to L1 |
//! | [`quota`] | what each rollup spends of its day |
//! | [`renew`] | coverage of settled batches, renewed in time |
//! | [`accusations`] | who did what an honest one does not |
//! | [`budget`] | shares of memory and places, by rollup |
//! | [`store`] | what survives |

pub mod accusations;
pub mod aggregator;
pub mod batch;
pub mod batches;
pub mod budget;
pub mod collect;
pub mod config;
pub mod context;
pub mod convert;
pub mod encode;
pub mod grpc;
mod health;
pub mod members;
pub mod post;
pub mod program;
pub mod quota;
pub mod renew;
pub mod store;
pub mod submit;
