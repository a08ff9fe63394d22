//! The payload's fingerprint in the circuit: section 5 of the protocol, one product in K =
//! GF(2^8)\[x\]/(x^16 + x^3 + 5x + 2) for each block and point.
//!
//! **Integers instead of bits.** GF(2^8) is GF(2)\[y\]/(y^8 + y^4 + y^3 + y^2 + 1), so an element
//! of K is a polynomial in x and y with bits as coefficients. Its 16 bytes become 16 integers, byte
//! i the value of Σ_j bit_{8i+j}·y^j at y = 2^14 (Kronecker's substitution), and products are taken
//! over the integers: of two elements by 31 multiplications, one for each of 31 values of x.
//! Nothing is reduced modulo 2 meanwhile. Sums of many products stay below 2^14 a coefficient, so
//! no coefficient touches the next one, and all 17 of them fit into a field element.
//!
//! **Reduction.** Interpolation and x^16 → x^3 + (y² + 1)x + y are linear maps with integer
//! coefficients; they leave 16 integers of 17 coefficients. These are split into bits, whose lowest
//! ones are the coefficients modulo 2; y^8 and above fold down as exclusive ors. The number of bits
//! of each coefficient follows from how large it can be.
//!
//! **How often.** Only sums of `GROUP` blocks are reduced: with α … α^8 known, a group's value is Σ
//! c_b·α^b + value of the groups above·α^8. Even powers are squares, which are linear over GF(2)
//! and need no products.

use std::sync::LazyLock;

use ark_bn254::Fr;
use ark_ff::{BigInteger, Field, One, PrimeField, Zero};
use dac_coding::field::Element as Field128;

use crate::circuit::system::{Bit, System, Wire};

/// Bits of an element of K.
pub const ELEMENT_BITS: usize = 128;
/// Coefficients in x.
const BYTES: usize = 16;
/// Coefficients in y of a product: 15, and 2 more by the 5 = y² + 1 of the reduction.
const DIGITS: usize = 17;
/// Bits between two coefficients in y.
const SPACING: usize = 14;
/// Values of x at which products are taken: −15 … 15, enough for degree 30.
const NODES: usize = 31;
/// Blocks whose products are added up before they are reduced.
const GROUP: usize = 8;

/// y^e modulo y^8 + y^4 + y^3 + y^2 + 1, for e below 17, as bits.
static Y_POWERS: LazyLock<[u8; DIGITS]> = LazyLock::new(|| {
    let mut power = 1_u8;
    std::array::from_fn(|_| {
        let this = power;
        power = dac_coding::field::gf8::mul(power, 2);
        this
    })
});

/// x^d in the basis 1 … x^15, coefficients being polynomials in y of degree at most 2 over the
/// integers.
static X_POWERS: LazyLock<[[[u64; 3]; BYTES]; NODES]> = LazyLock::new(|| {
    let mut power = [[0; 3]; BYTES];
    power[0][0] = 1;
    std::array::from_fn(|degree| {
        let this = power;
        let top = this[BYTES - 1];
        power = std::array::from_fn(|i| if i == 0 { [0; 3] } else { this[i - 1] });
        // What folds down is a number, so that y² is the most that folding brings. The degree after
        // the last is not used.
        assert!(top[1..] == [0; 2] || degree == NODES - 1);
        // x^16 = x^3 + (y² + 1)x + y.
        power[3][0] += top[0];
        power[1][0] += top[0];
        power[1][2] += top[0];
        power[0][1] += top[0];
        this
    })
});

/// From the values at the nodes to the 16 reduced coefficients in x: interpolation, then reduction.
static INTERPOLATE: LazyLock<[[Fr; NODES]; BYTES]> = LazyLock::new(|| {
    // Coefficients of the Lagrange polynomials: lagrange[e][d].
    let lagrange: Vec<Vec<Fr>> = nodes()
        .map(|node| {
            let mut polynomial = vec![Fr::one()];
            for other in nodes().filter(|other| *other != node) {
                let scale = (node - other).inverse().expect("nodes differ");
                let mut product = vec![Fr::zero(); polynomial.len() + 1];
                for (degree, coefficient) in polynomial.iter().enumerate() {
                    product[degree + 1] += *coefficient * scale;
                    product[degree] -= *coefficient * other * scale;
                }
                polynomial = product;
            }
            polynomial
        })
        .collect();
    let y = Fr::from(1_u64 << SPACING);
    std::array::from_fn(|byte| {
        std::array::from_fn(|node| {
            (0..NODES)
                .map(|degree| {
                    let [one, linear, square] = X_POWERS[degree][byte].map(Fr::from);
                    lagrange[node][degree] * (one + y * (linear + y * square))
                })
                .sum()
        })
    })
});

/// For each bit of a square: which bits of its root it is the exclusive or of.
static SQUARE: LazyLock<Vec<Vec<usize>>> = LazyLock::new(|| {
    let squares: Vec<u128> = (0..ELEMENT_BITS)
        .map(|bit| {
            let square = Field128::from_bytes((1_u128 << bit).to_le_bytes()).square();
            u128::from_le_bytes(square.to_bytes())
        })
        .collect();
    (0..ELEMENT_BITS)
        .map(|bit| (0..ELEMENT_BITS).filter(|root| squares[*root] >> bit & 1 == 1).collect())
        .collect()
});

fn nodes() -> impl Iterator<Item = Fr> {
    let half = Fr::from((NODES / 2) as u64);
    (0..NODES as u64).map(move |node| Fr::from(node) - half)
}

/// An element of K: its 128 bits, bit 8i + j belonging to x^i·y^j, and its bytes as integers at y =
/// 2^14.
pub struct Element {
    bits: Vec<Bit>,
    bytes: [Wire; BYTES],
}

impl Element {
    /// From its bits. 16 constraints.
    pub fn new(system: &mut System, bits: Vec<Bit>) -> Self {
        assert_eq!(bits.len(), ELEMENT_BITS);
        let bytes = std::array::from_fn(|byte| {
            let packed =
                Wire::sum(bits[8 * byte..][..8].iter().enumerate().map(|(j, bit)| (bit.wire(), spaced(j))));
            system.materialise(&packed)
        });
        Self { bits, bytes }
    }

    /// The value of Σ byte_i·x^i.
    fn at(&self, node: Fr) -> Wire {
        let mut power = Fr::one();
        Wire::sum(self.bytes.iter().map(|byte| {
            let factor = power;
            power *= node;
            (byte, factor)
        }))
    }

    /// self².
    fn square(&self, system: &mut System) -> Self {
        let bits =
            SQUARE.iter().map(|roots| exclusive_or(system, roots.iter().map(|root| &self.bits[*root])));
        let bits = bits.collect();
        Self::new(system, bits)
    }
}

/// 2^(14·j).
fn spaced(j: usize) -> Fr {
    Fr::from(2_u8).pow([(SPACING * j) as u64])
}

/// The sum of bits modulo 2.
fn exclusive_or<'a>(system: &mut System, bits: impl ExactSizeIterator<Item = &'a Bit>) -> Bit {
    let count = bits.len();
    let sum = Wire::sum(bits.map(|bit| (bit.wire(), Fr::one())));
    let length = (usize::BITS - count.leading_zeros()) as usize;
    system.bits(&sum, length).swap_remove(0)
}

/// The largest value that each coefficient of a sum of `products` products and `elements` elements
/// can take, after reduction in x.
fn largest(products: u64, elements: u64) -> [[u64; DIGITS]; BYTES] {
    // Pairs (a, b) with a + b = s, both below `size`.
    let pairs = |s: usize, size: usize| (0..size).filter(|a| s >= *a && s - a < size).count() as u64;
    let mut largest = [[0; DIGITS]; BYTES];
    for degree in 0..NODES {
        for digit in 0..DIGITS - 2 {
            let sum = products * pairs(degree, BYTES) * pairs(digit, 8)
                + if degree < BYTES && digit < 8 { elements } else { 0 };
            for (byte, coefficient) in X_POWERS[degree].iter().enumerate() {
                for (shift, factor) in coefficient.iter().enumerate() {
                    largest[byte][digit + shift] += sum * factor;
                }
            }
        }
    }
    largest
}

/// Σ left·right + Σ element in K, as bits.
fn reduced(system: &mut System, products: &[(&Element, &Element)], elements: &[&Element]) -> Vec<Bit> {
    let sums: Vec<Wire> = nodes()
        .map(|node| {
            let products: Vec<_> = products
                .iter()
                .map(|(left, right)| system.product(&left.at(node), &right.at(node)))
                .collect();
            match &products[..] {
                [product] => product.clone(),
                products => {
                    let sum = Wire::sum(products.iter().map(|product| (product, Fr::one())));
                    system.materialise(&sum)
                }
            }
        })
        .collect();
    let largest = largest(products.len() as u64, elements.len() as u64);
    let mut bits = Vec::with_capacity(ELEMENT_BITS);
    for byte in 0..BYTES {
        let from_products = Wire::sum(sums.iter().zip(INTERPOLATE[byte]));
        let coefficient = elements.iter().fold(from_products, |sum, element| &sum + &element.bytes[byte]);
        let parities = digit_parities(system, &coefficient, &largest[byte]);
        bits.extend((0..8).map(|j| {
            let folded = parities.iter().enumerate().filter(|(e, _)| Y_POWERS[*e] >> j & 1 == 1);
            let folded: Vec<_> = folded.map(|(_, parity)| parity).collect();
            exclusive_or(system, folded.into_iter())
        }));
    }
    bits
}

/// Splits Σ digit_j·2^(14·j) into digits of at most these values, and gives each one's lowest bit.
fn digit_parities(system: &mut System, wire: &Wire, largest: &[u64; DIGITS]) -> Vec<Bit> {
    let value = wire.value().into_bigint();
    let mut terms = Vec::new();
    let mut parities = Vec::with_capacity(DIGITS);
    for (digit, largest) in largest.iter().enumerate() {
        let length = (u64::BITS - largest.leading_zeros()) as usize;
        assert!(length <= SPACING, "a coefficient of up to {largest} reaches into the next one");
        let first = SPACING * digit;
        let bits: Vec<Bit> = (0..length).map(|bit| system.bit(value.get_bit(first + bit))).collect();
        parities.push(bits.first().cloned().unwrap_or_else(|| Bit::constant(false)));
        terms.extend(
            bits.into_iter().enumerate().map(|(bit, wire)| (wire, spaced(digit) * Fr::from(1_u64 << bit))),
        );
    }
    let sum = Wire::sum(terms.iter().map(|(bit, factor)| (bit.wire(), *factor)));
    system.equal(&sum, wire);
    parities
}

/// α, α², …, α^8.
fn powers(system: &mut System, alpha: Element) -> Vec<Element> {
    let mut powers = vec![alpha];
    for exponent in 2..=GROUP {
        let next = if exponent % 2 == 0 {
            powers[exponent / 2 - 1].square(system)
        } else {
            let bits = reduced(system, &[(&powers[exponent - 2], &powers[0])], &[]);
            Element::new(system, bits)
        };
        powers.push(next);
    }
    powers
}

/// Σ_b blocks_b·α^b in K, as bits.
pub fn evaluate(system: &mut System, blocks: &[Element], alpha: Vec<Bit>) -> Vec<Bit> {
    let alpha = Element::new(system, alpha);
    let powers = powers(system, alpha);
    let mut above: Option<Element> = None;
    for group in blocks.chunks(GROUP).rev() {
        let mut products: Vec<_> = group[1..].iter().zip(&powers).collect();
        products.extend(above.as_ref().map(|above| (above, &powers[GROUP - 1])));
        let bits = reduced(system, &products, &[&group[0]]);
        above = Some(Element::new(system, bits));
    }
    above.map(|element| element.bits).unwrap_or_default()
}
