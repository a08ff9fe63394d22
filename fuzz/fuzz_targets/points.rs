//! Decodes BLS points from the wire and from L1: a point that is accepted has exactly one encoding
//! of each kind, and is never the point at infinity.
#![no_main]

use dac_bls::{PublicKey, Signature};
use dac_types::{PublicKeyBytes, SignatureBytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(compressed) = bytes.first_chunk::<48>()
        && let Ok(signature) = Signature::from_compressed(&SignatureBytes(*compressed))
    {
        assert_eq!(signature.to_compressed().as_bytes(), compressed);
        assert_eq!(
            Signature::from_eip2537(&signature.to_eip2537()).unwrap().to_compressed().as_bytes(),
            compressed
        );
    }
    if let Some(compressed) = bytes.first_chunk::<96>()
        && let Ok(key) = PublicKey::from_compressed(&PublicKeyBytes(*compressed))
    {
        assert_eq!(key.to_compressed().as_bytes(), compressed);
        assert_eq!(
            PublicKey::from_eip2537(&key.to_eip2537()).unwrap().to_compressed().as_bytes(),
            compressed
        );
    }
    if let Some(encoded) = bytes.first_chunk::<128>()
        && let Ok(signature) = Signature::from_eip2537(encoded)
    {
        assert_eq!(&signature.to_eip2537(), encoded);
    }
    if let Some(encoded) = bytes.first_chunk::<256>()
        && let Ok(key) = PublicKey::from_eip2537(encoded)
    {
        assert_eq!(&key.to_eip2537(), encoded);
    }
});
