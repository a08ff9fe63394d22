//! Attacks on a member by rollups and by strangers.
