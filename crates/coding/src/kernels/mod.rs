//! The inner loops: evaluation of a polynomial over K, and linear combinations of rows over GF(2^8).
//!
//! Each has a portable form and may have faster ones for some processors, chosen when the program runs.

#[cfg(feature = "reed-solomon")]
pub(crate) mod combine;
pub(crate) mod evaluate;
