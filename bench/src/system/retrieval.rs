//! Measures the retrieval of payloads from members, one after the other.

use std::time::Instant;

use bytes::Bytes;
use dac_client::{BatchState, Hint, RetrieveOptions, Retriever};
use dac_tests::{Context, Failure, Result};
use dac_types::BatchDigest;

use super::arena::{Arena, microseconds};
use super::setting::show_bytes;
use crate::report::Figure;

/// The approximate number of payload bytes that are retrieved.
const TOTAL_BYTES: usize = 64 << 20;
/// The least and the largest number of batches that are retrieved.
const BATCHES: (usize, usize) = (2, 32);

/// Measures retrieval with all members, then stops the members whose shards are rows of the payload
/// for good and measures again.
pub async fn measure(arena: &mut Arena, bytes: usize) -> Result<Vec<Figure>> {
    let batches = (TOTAL_BYTES / bytes).clamp(BATCHES.0, BATCHES.1);
    // One more batch is retrieved first, unmeasured, to open the connections.
    let count = 2 * batches + 1;
    let mut stored = Vec::with_capacity(count);
    for number in (microseconds()..).take(count) {
        stored.push(arena.submit(number, bytes, BatchState::Certified).await?);
    }
    // A quorum has fewer than k members without those that hold rows if n is large, so all members
    // must have their shards.
    let digests: Vec<BatchDigest> = stored.iter().map(|(digest, _)| *digest).collect();
    arena.held_by_all(&digests).await?;
    let (opening, stored) = stored.split_at(1);
    let (first, second) = stored.split_at(batches);
    arena.cool_down().await?;
    let retriever = Retriever::new(arena.directory().await?, arena.dialer(), RetrieveOptions::default());
    let setting = arena.setting;
    let basis = format!("{batches} batches, one after the other, each read for the first time");
    let figure = |what: &str, rate: f64| {
        let name = format!("system/retrieval, {what}/{setting}/{}", show_bytes(bytes));
        Figure::new(name, rate, "MB/s").with_basis(&basis)
    };
    retrieve(&retriever, opening).await?;
    let all = retrieve(&retriever, first).await?;
    for seat in setting.systematic() {
        arena.network.members[seat.index()].service.kill();
    }
    let without = retrieve(&retriever, second).await?;
    Ok(vec![figure("all members", all), figure("systematic members down", without)])
}

/// Returns the rate in MB/s.
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
