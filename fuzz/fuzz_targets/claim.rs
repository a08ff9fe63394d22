//! Decodes public claims as a zkVM guest reads them: a claim that decodes encodes to exactly the
//! same bytes, and its field elements are in the field.
#![no_main]

use dac_types::{BN254_ORDER, PublicClaim};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(claim) = PublicClaim::decode(bytes) else { return };
    assert_eq!(claim.encode(), bytes);
    for mut piece in claim.groth16_context() {
        piece.reverse();
        assert!(piece < BN254_ORDER.0);
    }
    let _ = claim.groth16_inputs();
    // The payload is usually far shorter than the claim says, so it is refused before anything is
    // evaluated.
    let _ = dac_coding::check_binding(&[], &claim, None);
});
