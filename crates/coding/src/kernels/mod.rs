//! The inner loops: evaluation of polynomials over K, linear combinations of rows over GF(2^8), SHA-256 of many messages.
//!
//! Each has a portable form, which is what it means, and faster twins for some processors, chosen when the program runs
//! and tested against it. Only here is `unsafe` allowed: to call a twin once the processor was asked, and to move bytes
//! between arrays and vector registers.

#[cfg(feature = "reed-solomon")]
pub(crate) mod combine;
#[cfg(all(feature = "reed-solomon", target_arch = "x86_64"))]
mod combine_avx2;
#[cfg(all(feature = "reed-solomon", target_arch = "x86_64"))]
mod combine_gfni;
pub(crate) mod evaluate;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod evaluate_avx2;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod evaluate_gfni;
pub(crate) mod hash;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod hash_avx512;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod hash_sha_ni;
pub(crate) mod horner;
mod multiples;
