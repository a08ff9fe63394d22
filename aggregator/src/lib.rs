//! The aggregator, or disperser: takes a rollup's batch, delivers its shards to the committee,
//! makes the certificate and records it on L1, or has the rollup's contract settle the batch with a
//! validity proof. It is trusted only for liveness.
//!
//! | module | content |
//! |---|---|
//! | [`program`], [`config`] | the process and its configuration file |
//! | [`aggregator`] | the aggregator, built from its parts |
//! | [`batches`] | all batches; one task for each that has work left |
//! | [`grpc`], [`convert`] | `BatchService`: uploads, proofs, queries, watching |
//! | [`submit`] | whether a submission is taken |
//! | [`batch`] | a batch's life as a pure state machine |
//! | [`encode`], [`members`] | from the payload to shards and header; calls to members |
//! | [`collect`] | from signatures to the certificate |
//! | [`post`] | sends certificates and settlements to L1 |
//! | [`quota`] | what each rollup has spent of its daily quota |
//! | [`renew`] | renews the coverage of settled batches in time |
//! | [`accusations`] | the members and rollups that did what no honest one does |
//! | [`budget`] | each rollup's share of memory, places and turns |
//! | [`store`] | what survives a restart: batches, payloads, postings |

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
