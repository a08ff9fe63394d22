//! Baby Jubjub in the circuit: the twisted Edwards curve x² + y² = 1 + d·x²y² over BN254's scalar
//! field.
//!
//! d is not a square, so the addition law is complete: on points of the curve no denominator is
//! zero (Bernstein and Lange, *Faster addition and doubling on elliptic curves*, 2007). Code
//! that takes a point from outside checks first that it is on the curve.

use std::sync::LazyLock;

use ark_bn254::Fr;
use ark_ec::twisted_edwards::TECurveConfig;
use ark_ec::{AdditiveGroup, CurveGroup, PrimeGroup};
use ark_ed_on_bn254::{EdwardsAffine, EdwardsConfig, EdwardsProjective, Fr as Scalar};
use ark_ff::Field;

use crate::circuit::system::{Bit, System, Wire};
use crate::keys::RESPONSE_BITS;

/// Bits that one step of a multiplication of the generator takes.
const WINDOW_BITS: usize = 3;

/// For each window: the generator times 0, 1, …, 7 times the window's weight.
static GENERATOR_MULTIPLES: LazyLock<Vec<[EdwardsAffine; 1 << WINDOW_BITS]>> = LazyLock::new(|| {
    let bases = std::iter::successors(Some(EdwardsProjective::generator()), |base| {
        Some(base.double().double().double())
    });
    bases
        .take(RESPONSE_BITS / WINDOW_BITS)
        .map(|base| std::array::from_fn(|digit| (base * Scalar::from(digit as u64)).into_affine()))
        .collect()
});

/// A point of the curve.
#[derive(Clone, Debug)]
pub struct Point {
    /// First coordinate.
    pub x: Wire,
    /// Second coordinate.
    pub y: Wire,
}

impl Point {
    /// The neutral element.
    pub fn neutral() -> Self {
        Self { x: Wire::zero(), y: Wire::constant(1_u8) }
    }

    /// Allocates a point of the prover's as a witness and checks that it is on the curve. It takes
    /// 4 constraints.
    pub fn witness(system: &mut System, point: &EdwardsAffine) -> Self {
        let (x, y) = (system.variable(point.x), system.variable(point.y));
        let x_squared = system.product(&x, &x);
        let y_squared = system.product(&y, &y);
        let sum = &x_squared + &y_squared;
        system.enforce(&(&x_squared * EdwardsConfig::COEFF_D), &y_squared, &(&sum - &Wire::constant(1_u8)));
        Self { x, y }
    }

    /// −self.
    pub fn negated(&self) -> Self {
        Self { x: -&self.x, y: self.y.clone() }
    }

    /// self + other. 6 constraints.
    pub fn plus(&self, system: &mut System, other: &Self) -> Self {
        let x1_y2 = system.product(&self.x, &other.y);
        let y1_x2 = system.product(&self.y, &other.x);
        let cross = system.product(&x1_y2, &y1_x2);
        let mixed = system.product(&(&self.y - &self.x), &(&other.x + &other.y));
        let scaled = &cross * EdwardsConfig::COEFF_D;
        let one = Wire::constant(1_u8);
        let x = quotient(system, &(&x1_y2 + &y1_x2), &(&one + &scaled));
        // (y1 − x1)(x2 + y2) = y1·y2 − x1·x2 + y1·x2 − x1·y2.
        let y = quotient(system, &(&(&mixed + &x1_y2) - &y1_x2), &(&one - &scaled));
        Self { x, y }
    }

    /// 2·self. 5 constraints.
    pub fn doubled(&self, system: &mut System) -> Self {
        let x_squared = system.product(&self.x, &self.x);
        let y_squared = system.product(&self.y, &self.y);
        let cross = system.product(&self.x, &self.y);
        // On the curve, 1 + d·x²y² = x² + y².
        let sum = &x_squared + &y_squared;
        let x = quotient(system, &(&cross * Fr::from(2_u8)), &sum);
        let y = quotient(system, &(&y_squared - &x_squared), &(&Wire::constant(2_u8) - &sum));
        Self { x, y }
    }

    /// scalar·self; bits lowest first. 13 constraints a bit.
    pub fn times(&self, system: &mut System, scalar: &[Bit]) -> Self {
        let mut sum: Option<Self> = None;
        for bit in scalar.iter().rev() {
            let chosen = self.if_set(system, bit);
            sum = Some(match sum {
                None => chosen,
                Some(sum) => {
                    let doubled = sum.doubled(system);
                    doubled.plus(system, &chosen)
                }
            });
        }
        sum.unwrap_or_else(Self::neutral)
    }

    /// self, or the neutral element.
    fn if_set(&self, system: &mut System, bit: &Bit) -> Self {
        let one = Wire::constant(1_u8);
        Self {
            x: system.product(bit.wire(), &self.x),
            y: &system.product(bit.wire(), &(&self.y - &one)) + &one,
        }
    }
}

/// numerator / denominator, where the denominator is known not to be zero.
fn quotient(system: &mut System, numerator: &Wire, denominator: &Wire) -> Wire {
    let inverse = denominator.value().inverse().unwrap_or_default();
    let quotient = system.variable(numerator.value() * inverse);
    system.enforce(&quotient, denominator, numerator);
    quotient
}

/// scalar·G; bits lowest first, a multiple of 3 of them. 10 constraints for three bits.
pub fn generator_times(system: &mut System, scalar: &[Bit]) -> Point {
    assert_eq!(scalar.len() % WINDOW_BITS, 0);
    assert!(scalar.len() <= RESPONSE_BITS);
    let mut sum: Option<Point> = None;
    for (window, multiples) in scalar.chunks_exact(WINDOW_BITS).zip(GENERATOR_MULTIPLES.iter()) {
        let chosen = look_up(system, window, multiples);
        sum = Some(match sum {
            None => chosen,
            Some(sum) => sum.plus(system, &chosen),
        });
    }
    sum.unwrap_or_else(Point::neutral)
}

/// The entry that three bits name.
fn look_up(system: &mut System, bits: &[Bit], table: &[EdwardsAffine; 1 << WINDOW_BITS]) -> Point {
    // All products of the bits, by subset.
    let mut monomials = vec![Wire::constant(1_u8)];
    for bit in bits {
        for subset in 0..monomials.len() {
            let product = match subset {
                0 => bit.wire().clone(),
                _ => system.product(&monomials[subset], bit.wire()),
            };
            monomials.push(product);
        }
    }
    // Coefficients of the multilinear polynomial with these values.
    let combination = |coordinate: fn(&EdwardsAffine) -> Fr| {
        let mut coefficients = table.each_ref().map(coordinate);
        for bit in 0..WINDOW_BITS {
            for subset in 0..coefficients.len() {
                if subset >> bit & 1 == 1 {
                    let lower = coefficients[subset ^ 1 << bit];
                    coefficients[subset] -= lower;
                }
            }
        }
        Wire::sum(monomials.iter().zip(coefficients))
    };
    Point { x: combination(|point| point.x), y: combination(|point| point.y) }
}
