//! The check of a signature in the circuit: see [`crate::keys`] for the scheme.

use ark_bn254::Fr;
use ark_ff::{BigInteger, PrimeField};

use crate::circuit::curve::{Point, generator_times};
use crate::circuit::poseidon;
use crate::circuit::system::{System, Wire, pack};
use crate::keys::{CHALLENGE_BITS, RESPONSE_BITS, Signature};

/// Proves that the signature over `message` is by `key`, which must be on the curve.
pub fn verify(system: &mut System, key: &Point, message: &Wire, signature: &Signature) {
    let response = signature.response.into_bigint();
    let response: Vec<_> = (0..RESPONSE_BITS).map(|bit| system.bit(response.get_bit(bit))).collect();
    let challenge = system.free_bits(Fr::from(signature.challenge), CHALLENGE_BITS);
    // nonce·G = response·G − challenge·key.
    let left = generator_times(system, &response);
    let right = key.times(system, &challenge).negated();
    let commitment = left.plus(system, &right);
    let hash = poseidon::hash(system, &[&commitment.x, &commitment.y, &key.x, &key.y, message]);
    let hash = system.canonical_bits(&hash);
    system.equal(&pack(&hash[..CHALLENGE_BITS]), &pack(&challenge));
}
