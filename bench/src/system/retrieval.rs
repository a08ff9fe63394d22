//! Payloads back from members, one after the other.

use std::time::Instant;

use bytes::Bytes;
use dac_client::{BatchState, Hint, RetrieveOptions, Retriever};
use dac_tests::{Context, Failure, Result};
use dac_types::BatchDigest;

use super::arena::{Arena, microseconds};
use super::setting::show_bytes;
use crate::report::Figure;

/// Payload bytes retrieved, about.
const TOTAL_BYTES: usize = 48 << 20;

/// Measures it, and then stops the members with systematic shards for good.
pub async fn measure(arena: &mut Arena, bytes: usize) -> Result<Vec<Figure>> {
    let batches = (TOTAL_BYTES / bytes).clamp(2, 64);
    let mut stored = Vec::with_capacity(batches);
    for number in (microseconds()..).take(batches) {
        stored.push(arena.submit(number, bytes, BatchState::Certified).await?);
    }
    let retriever = Retriever::new(arena.directory().await?, arena.dialer(), RetrieveOptions::default());
    let setting = arena.setting;
    let name = |what: &str| format!("system/retrieval, {what}/{setting}/{}", show_bytes(bytes));
    let all = retrieve(&retriever, &stored).await?;
    for seat in setting.systematic() {
        arena.network.members[seat.index()].service.kill();
    }
    let without = retrieve(&retriever, &stored).await?;
    Ok(vec![
        Figure::new(name("all members"), all, "MB/s"),
        Figure::new(name("systematic members down"), without, "MB/s"),
    ])
}

/// MB/s.
#[allow(clippy::cast_precision_loss)] // Far below 2^52.
async fn retrieve(retriever: &Retriever, stored: &[(BatchDigest, Bytes)]) -> Result<f64> {
    let start = Instant::now();
    let mut bytes = 0;
    for (digest, payload) in stored {
        let retrieved = retriever.retrieve(*digest, &Hint::default(), |_| {}).await.context("a retrieval")?;
        if retrieved.payload != *payload {
            return Err(Failure::new(format!("batch {digest} came back as something else")));
        }
        bytes += payload.len();
    }
    Ok(bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
}
