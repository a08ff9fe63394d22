//! Parts of the circuit against the code that they repeat.
#![allow(missing_docs)]

mod common;

use ark_bn254::Fr;
use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ed_on_bn254::{EdwardsAffine, EdwardsProjective, Fr as Scalar};
use ark_ff::{BigInteger, PrimeField, UniformRand};
use common::{User, rng};
use dac_coding::field::Element as Native;
use proptest::prelude::*;
use reference_rollup::circuit::curve::{Point, generator_times};
use reference_rollup::circuit::fingerprint::{Element, evaluate};
use reference_rollup::circuit::signature;
use reference_rollup::circuit::system::{Bit, System, pack};

fn bits(system: &mut System, bytes: &[u8]) -> Vec<Bit> {
    let bits = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    bits.map(|bit| system.bit(bit)).collect()
}

fn bytes(bits: &[Bit]) -> Vec<u8> {
    bits.chunks(8)
        .map(|byte| byte.iter().rev().fold(0, |sum, bit| sum << 1 | u8::from(bit.value())))
        .collect()
}

/// Σ block·α^b by Horner's rule in K.
fn horner(blocks: &[[u8; 16]], alpha: [u8; 16]) -> [u8; 16] {
    let alpha = Native::from_bytes(alpha);
    let sum = blocks.iter().rev().fold(Native::ZERO, |sum, block| sum * alpha + Native::from_bytes(*block));
    sum.to_bytes()
}

fn evaluated(blocks: &[[u8; 16]], alpha: [u8; 16]) -> (Vec<u8>, System) {
    let (mut system, _) = System::new(&[]);
    let elements: Vec<Element> = blocks
        .iter()
        .map(|block| {
            let block = bits(&mut system, block);
            Element::new(&mut system, block)
        })
        .collect();
    let alpha = bits(&mut system, &alpha);
    let value = evaluate(&mut system, &elements, alpha);
    (bytes(&value), system)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn fingerprints_are_those_of_the_protocol(
        blocks in prop::collection::vec(any::<[u8; 16]>(), 1..27),
        alpha in any::<[u8; 16]>(),
    ) {
        let (value, system) = evaluated(&blocks, alpha);
        prop_assert_eq!(value, horner(&blocks, alpha));
        prop_assert_eq!(system.unsatisfied(), None);
    }

    #[test]
    fn points_multiply_as_outside(seed in any::<u64>(), challenge in any::<u128>()) {
        let mut rng = rng(seed);
        let point = (EdwardsProjective::generator() * Scalar::rand(&mut rng)).into_affine();
        let scalar = Scalar::rand(&mut rng);
        let (mut system, _) = System::new(&[]);
        let key = Point::witness(&mut system, &point);
        let challenge_bits = bits(&mut system, &challenge.to_le_bytes());
        let scalar_bits: Vec<Bit> = (0..252).map(|i| system.bit(scalar.into_bigint().get_bit(i))).collect();
        let left = generator_times(&mut system, &scalar_bits);
        let right = key.times(&mut system, &challenge_bits);
        let sum = left.plus(&mut system, &right);
        let expected = (EdwardsProjective::generator() * scalar + point.into_group() * Scalar::from(challenge)).into_affine();
        prop_assert_eq!((sum.x.value(), sum.y.value()), (expected.x, expected.y));
        prop_assert_eq!(system.unsatisfied(), None);
    }

    #[test]
    fn canonical_bits_are_those_of_the_integer(seed in any::<u64>()) {
        let value = Fr::rand(&mut rng(seed));
        let (mut system, wires) = System::new(&[value]);
        let bits = system.canonical_bits(&wires[0]);
        prop_assert_eq!(bytes(&bits), value.into_bigint().to_bytes_le());
        prop_assert_eq!(system.unsatisfied(), None);
    }
}

/// Where sums are largest: if a coefficient reached into the next one, it would be here.
#[test]
fn all_ones_do_not_overflow() {
    let blocks = [[0xff; 16]; 42];
    for alpha in [[0xff; 16], [0; 16], [1; 16]] {
        let (value, system) = evaluated(&blocks, alpha);
        assert_eq!(value, horner(&blocks, alpha));
        assert_eq!(system.unsatisfied(), None);
    }
}

/// 0 has two readings of 254 bits: none, and those of the order itself. Only the first may pass.
#[test]
fn bits_of_the_order_are_not_those_of_zero() {
    let order = Fr::MODULUS;
    let (mut system, wires) = System::new(&[Fr::from(0_u8)]);
    let bits: Vec<Bit> = (0..254).map(|position| system.bit(order.get_bit(position))).collect();
    system.equal(&pack(&bits), &wires[0]);
    assert_eq!(system.unsatisfied(), None, "in the field they add up to zero");
    system.below_order(&bits);
    assert!(system.unsatisfied().is_some());
}

#[test]
fn signatures_verify_and_others_do_not() {
    let user = User::new(1);
    let message = Fr::from(12_345_u64);
    let good = user.key.sign(message, &mut rng(3));
    assert!(user.key.public().verifies(message, &good));
    let mut bad_challenge = good;
    bad_challenge.challenge ^= 1;
    let mut bad_response = good;
    bad_response.response += Scalar::from(1_u8);
    let cases = [
        (message, good, true),
        (message + Fr::from(1_u8), good, false),
        (message, bad_challenge, false),
        (message, bad_response, false),
    ];
    let (x, y) = user.key.public().coordinates();
    for (message, signature, valid) in cases {
        assert_eq!(user.key.public().verifies(message, &signature), valid);
        let (mut system, wires) = System::new(&[message]);
        let key = Point::witness(&mut system, &EdwardsAffine::new_unchecked(x, y));
        signature::verify(&mut system, &key, &wires[0], &signature);
        assert_eq!(system.unsatisfied().is_none(), valid);
    }
}

#[test]
fn a_key_off_the_curve_is_no_witness() {
    let (mut system, _) = System::new(&[]);
    Point::witness(&mut system, &EdwardsAffine::new_unchecked(Fr::from(1_u8), Fr::from(2_u8)));
    assert!(system.unsatisfied().is_some());
}

#[test]
fn zero_tests_say_what_is_so() {
    for (value, zero) in [(0_u8, true), (5, false)] {
        let (mut system, wires) = System::new(&[Fr::from(value)]);
        assert_eq!(system.is_zero(&wires[0]).value(), zero);
        assert_eq!(system.unsatisfied(), None);
    }
    let (mut system, wires) = System::new(&[Fr::from(0_u8)]);
    let flag = Bit::constant(true);
    system.nonzero_if(&wires[0], &flag);
    assert!(system.unsatisfied().is_some(), "zero where it must not be");
}
