//! Poseidon with circomlib's constants, outside the circuit. Section "Poseidon" of
//! `reference-rollup/README.md` says what it hashes where; `vectors/poseidon-v1.json` holds Rust,
//! Solidity and the circuit to the same values.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ark_bn254::Fr;
use light_poseidon::{Poseidon, PoseidonHasher};

thread_local! {
    /// One hasher for each number of inputs: making one parses all its constants.
    static HASHERS: RefCell<BTreeMap<usize, Poseidon<Fr>>> = const { RefCell::new(BTreeMap::new()) };
}

/// The hash of 1 to 12 field elements.
///
/// # Panics
/// On none or more: how many are hashed is always written down in the code.
pub fn hash(inputs: &[Fr]) -> Fr {
    HASHERS.with_borrow_mut(|hashers| {
        hashers
            .entry(inputs.len())
            .or_insert_with(|| Poseidon::<Fr>::new_circom(inputs.len()).expect("1 to 12 inputs"))
            .hash(inputs)
            .expect("as many inputs as the hasher was made for")
    })
}
