//! The inner loops: evaluation of polynomials over K, linear combinations of rows over GF(2^8), and
//! SHA-256 of many messages.
//!
//! Each has a portable form, which defines its result, and faster kernels for some processors,
//! which are chosen at run time and tested against the portable form. Only these modules may use
//! `unsafe`: to call a kernel after checking the processor, and to move bytes between arrays and
//! vector registers.

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
mod evaluate_portable;
pub(crate) mod hash;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod hash_avx512;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod hash_sha_ni;
pub(crate) mod horner;
pub(crate) mod lanes;
mod multiples;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod sha256;
