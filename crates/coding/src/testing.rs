//! Malicious dispersers.
