//! Attacks on listeners, by clients that are nobody.
