//! The hash of everything that happens: every byte that arrives at a socket, every commit and every
//! block, with its simulated time.
//!
//! Two runs with the same hash did the same things in the same order.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hasher};

use serde::Serialize;

/// The hash so far, on this thread. A simulation has one thread.
#[derive(Default)]
struct Trace {
    hasher: DefaultHasher,
    events: u64,
}

thread_local! {
    static TRACE: RefCell<Trace> = RefCell::default();
}

/// A finished trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TraceHash {
    /// Hash of all events in their order.
    pub hash: u64,
    /// Number of events.
    pub events: u64,
}

/// Starts a new trace.
pub(crate) fn begin() {
    TRACE.replace(Trace::default());
}

/// Adds an event: its kind, and the bytes that distinguish it from others.
pub(crate) fn event(kind: &str, parts: &[&[u8]]) {
    let now = turmoil::sim_elapsed().unwrap_or_default().as_nanos();
    TRACE.with_borrow_mut(|trace| {
        trace.events += 1;
        trace.hasher.write_u128(now);
        trace.hasher.write(kind.as_bytes());
        for part in parts {
            trace.hasher.write_usize(part.len());
            trace.hasher.write(part);
        }
    });
    if tracing::enabled!(target: "simulation", tracing::Level::TRACE) {
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        tracing::trace!(target: "simulation", now_ms = now / 1_000_000, kind, ?lengths);
    }
}

/// Returns the trace since its start.
pub(crate) fn finish() -> TraceHash {
    TRACE.with_borrow(|trace| TraceHash { hash: trace.hasher.finish(), events: trace.events })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_content_are_told_apart() {
        let hash = |events: &[(&str, &[u8])]| {
            begin();
            for (kind, part) in events {
                event(kind, &[part]);
            }
            finish()
        };
        let first = hash(&[("a", b"1"), ("b", b"2")]);
        assert_eq!(first, hash(&[("a", b"1"), ("b", b"2")]));
        assert_ne!(first, hash(&[("b", b"2"), ("a", b"1")]));
        assert_ne!(first, hash(&[("a", b"1"), ("b", b"3")]));
        assert_ne!(first, hash(&[("a", b"1")]));
    }
}
