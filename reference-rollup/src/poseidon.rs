//! Poseidon with circomlib's constants, outside the circuit. The section "Poseidon" of
//! `reference-rollup/README.md` lists its uses. `vectors/poseidon-v1.json` tests that Rust,
//! Solidity and the circuit agree.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ark_bn254::Fr;
use light_poseidon::{Poseidon, PoseidonHasher};

thread_local! {
    /// One hasher for each number of inputs, because making one parses all its constants.
    static HASHERS: RefCell<BTreeMap<usize, Poseidon<Fr>>> = const { RefCell::new(BTreeMap::new()) };
}

/// The hash of 1 to 12 field elements.
///
/// # Panics
/// Panics with no input or more than 12. The code fixes the number of inputs everywhere.
pub fn hash(inputs: &[Fr]) -> Fr {
    HASHERS.with_borrow_mut(|hashers| {
        hashers
            .entry(inputs.len())
            .or_insert_with(|| Poseidon::<Fr>::new_circom(inputs.len()).expect("1 to 12 inputs"))
            .hash(inputs)
            .expect("as many inputs as the hasher was made for")
    })
}
