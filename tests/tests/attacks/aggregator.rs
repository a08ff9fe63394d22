//! Attacks on the aggregator by rollups and by strangers.
