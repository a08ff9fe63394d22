//! The two fields: GF(2^8) of the code, and K = GF(2^8)\[x\] / (x^16 + x^3 + 5x + 2) of the
//! fingerprints.

use core::ops::{Add, AddAssign, Mul, MulAssign};

/// The field GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1. Its generator is 2.
pub mod gf8 {
    /// The modulus with its leading term.
    const MODULUS: u16 = 0x11D;
    /// The order of the multiplicative group.
    pub(crate) const ORDER: usize = 255;

    const TABLES: ([u8; 2 * ORDER], [u8; 256]) = {
        let mut exp = [0; 2 * ORDER];
        let mut log = [0; 256];
        let mut power: u16 = 1;
        let mut exponent = 0;
        while exponent < ORDER {
            let byte = power.to_le_bytes()[0];
            exp[exponent] = byte;
            exp[exponent + ORDER] = byte;
            log[byte as usize] = exponent.to_le_bytes()[0];
            power <<= 1;
            if power > 0xFF {
                power ^= MODULUS;
            }
            exponent += 1;
        }
        (exp, log)
    };
    /// EXP[e] is 2^e. The table has two periods, so that a sum of two logarithms is a valid index.
    static EXP: [u8; 2 * ORDER] = TABLES.0;
    static LOG: [u8; 256] = TABLES.1;

    /// For each byte, its multiples by the 16 low half bytes and then by the 16 high ones. Two
    /// look-ups give any product.
    #[cfg_attr(not(feature = "reed-solomon"), allow(dead_code, reason = "for the kernels"))]
    pub(crate) static NIBBLE_MULTIPLES: [[u8; 32]; 256] = {
        let mut multiples = [[0; 32]; 256];
        let mut factor = 1;
        while factor < 256 {
            let mut nibble = 1;
            while nibble < 16 {
                let log = TABLES.1[factor] as usize;
                multiples[factor][nibble] = TABLES.0[log + TABLES.1[nibble] as usize];
                multiples[factor][16 + nibble] = TABLES.0[log + TABLES.1[nibble << 4] as usize];
                nibble += 1;
            }
            factor += 1;
        }
        multiples
    };

    /// For each byte, the multiplication by it as a matrix over GF(2) in the format of GFNI: byte
    /// 7 − r of the integer is row r, whose bit c tells whether bit c of a factor goes into bit r
    /// of the product.
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    pub(crate) static BIT_MATRICES: [u64; 256] = {
        let mut matrices = [0; 256];
        let mut factor = 1;
        while factor < 256 {
            let mut column = 0;
            while column < 8 {
                let product = TABLES.0[TABLES.1[factor] as usize + TABLES.1[1 << column] as usize] as u64;
                let mut row = 0;
                while row < 8 {
                    matrices[factor] |= (product >> row & 1) << (8 * (7 - row) + column);
                    row += 1;
                }
                column += 1;
            }
            factor += 1;
        }
        matrices
    };

    /// Returns a·b.
    pub fn mul(a: u8, b: u8) -> u8 {
        if a == 0 || b == 0 { 0 } else { EXP[log(a) + log(b)] }
    }

    /// Returns a².
    pub(crate) fn square(a: u8) -> u8 {
        static SQUARES: [u8; 256] = {
            let mut squares = [0; 256];
            let mut a = 1;
            while a < 256 {
                squares[a] = TABLES.0[2 * TABLES.1[a] as usize];
                a += 1;
            }
            squares
        };
        SQUARES[usize::from(a)]
    }

    /// Returns the exponent e with 2^e = a, for a ≠ 0. For 0 it returns 0.
    pub(crate) fn log(a: u8) -> usize {
        usize::from(LOG[usize::from(a)])
    }

    /// Returns 2^e for any e.
    pub(crate) fn exp(exponent: usize) -> u8 {
        EXP[exponent % ORDER]
    }
}

/// Each of the 16 bytes is 0x01.
const ONES: u128 = u128::from_le_bytes([0x01; 16]);

/// An element of K. Byte i of its 16 bytes is the coefficient of x^i.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Element(u128);

impl Element {
    /// The element 0.
    pub const ZERO: Self = Self(0);
    /// The element 1.
    pub const ONE: Self = Self(1);

    /// Makes an element of its 16 bytes. All values are valid.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }

    /// Returns the 16 bytes of the element.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    pub(crate) const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u128 {
        self.0
    }

    /// Returns the element times x.
    pub const fn times_x(self) -> Self {
        // The coefficient that is shifted out is multiplied by x^16 = x^3 + 5x + 2.
        let top = self.0 >> 120;
        let twice = double_each(top);
        let five_times = double_each(twice) ^ top;
        Self((self.0 << 8) ^ (top << 24) ^ (five_times << 8) ^ twice)
    }

    /// Returns the element with every coefficient doubled.
    pub(crate) const fn doubled(self) -> Self {
        Self(double_each(self.0))
    }

    /// Returns the element with every coefficient multiplied by the byte.
    pub fn scaled(self, byte: u8) -> Self {
        let mut sum = 0;
        let mut doubled = self.0;
        for bit in 0..8 {
            sum ^= doubled & mask(u128::from(byte) >> bit);
            doubled = double_each(doubled);
        }
        Self(sum)
    }

    /// Returns self². This is cheaper than a product: squaring is linear, so each coefficient is
    /// squared alone.
    pub fn square(self) -> Self {
        let (mut low, mut high) = ([0; 16], [0; 16]);
        let bytes = self.to_bytes();
        for i in 0..8 {
            low[2 * i] = gf8::square(bytes[i]);
            high[2 * i] = gf8::square(bytes[8 + i]);
        }
        // The high half is reduced with x^16 = x^3 + 5x + 2.
        let high = Self::from_bytes(high);
        let high_x = high.times_x();
        let five_high_x = double_each(double_each(high_x.0)) ^ high_x.0;
        Self(u128::from_le_bytes(low) ^ high_x.times_x().times_x().0 ^ five_high_x ^ double_each(high.0))
    }

    /// Returns self^exponent. Any element to the power 0 is 1.
    pub fn pow(self, exponent: u64) -> Self {
        let bits = u64::BITS - exponent.leading_zeros();
        (0..bits).rev().fold(Self::ONE, |power, bit| {
            let squared = power.square();
            if exponent >> bit & 1 == 1 { squared * self } else { squared }
        })
    }

    /// Returns 1/self, and 0 for 0. It computes self^(2^128 − 2) along the exponents 2^(2^i) − 1.
    pub fn inverse(self) -> Self {
        let squared = |element: Self, times: u32| (0..times).fold(element, |power, _| power.square());
        // doublings[i] is self^(2^(2^i) − 1).
        let mut doublings = [self; 7];
        for i in 1..7 {
            doublings[i] = squared(doublings[i - 1], 1 << (i - 1)) * doublings[i - 1];
        }
        // 127 = 64 + 32 + … + 1.
        let ones = (0..6).rev().fold(doublings[6], |power, i| squared(power, 1 << i) * doublings[i]);
        ones.square()
    }
}

/// Returns all ones if the lowest bit is one, else zero.
const fn mask(bit: u128) -> u128 {
    (bit & 1).wrapping_neg()
}

/// Doubles each of 16 bytes in GF(2^8).
const fn double_each(bytes: u128) -> u128 {
    let carries = (bytes >> 7) & ONES;
    ((bytes & !(ONES << 7)) << 1) ^ carries ^ (carries << 2) ^ (carries << 3) ^ (carries << 4)
}

impl Add for Element {
    type Output = Self;

    // In characteristic two, addition is exclusive or.
    #[allow(clippy::suspicious_arithmetic_impl)]
    fn add(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }
}

impl AddAssign for Element {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul for Element {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let mut doubled = [self.0; 8];
        for bit in 1..8 {
            doubled[bit] = double_each(doubled[bit - 1]);
        }
        let mut product = Self::ZERO;
        for byte in other.to_bytes().into_iter().rev() {
            product = product.times_x();
            for (bit, multiple) in doubled.iter().enumerate() {
                product.0 ^= multiple & mask(u128::from(byte) >> bit);
            }
        }
        product
    }
}

impl MulAssign for Element {
    fn mul_assign(&mut self, other: Self) {
        *self = *self * other;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn element() -> impl Strategy<Value = Element> {
        any::<[u8; 16]>().prop_map(Element::from_bytes)
    }

    /// Multiplies by the definition: polynomial product, then reduction from the top.
    fn schoolbook(a: Element, b: Element) -> Element {
        let (a, b) = (a.to_bytes(), b.to_bytes());
        let mut product = [0; 31];
        for i in 0..16 {
            for j in 0..16 {
                product[i + j] ^= gf8::mul(a[i], b[j]);
            }
        }
        for i in (16..31).rev() {
            let top = product[i];
            product[i - 13] ^= top;
            product[i - 15] ^= gf8::mul(5, top);
            product[i - 16] ^= gf8::mul(2, top);
        }
        Element::from_bytes(product[..16].try_into().unwrap())
    }

    #[test]
    fn bytes_multiply_as_in_the_code() {
        for a in 0..=255 {
            for b in 0..=255 {
                let mut product = 0_u16;
                for bit in 0..8 {
                    product = (product << 1) ^ if product & 0x80 == 0 { 0 } else { 0x11D };
                    product ^= if b >> (7 - bit) & 1 == 0 { 0 } else { u16::from(a) };
                }
                assert_eq!(u16::from(gf8::mul(a, b)), product & 0xFF, "{a}·{b}");
                let multiples = &gf8::NIBBLE_MULTIPLES[usize::from(a)];
                let by_halves = multiples[usize::from(b & 15)] ^ multiples[usize::from(16 + (b >> 4))];
                assert_eq!(by_halves, gf8::mul(a, b), "{a}·{b}");
            }
        }
    }

    #[test]
    fn zero_has_no_inverse_and_one_is_its_own() {
        assert_eq!(Element::ZERO.inverse(), Element::ZERO);
        assert_eq!(Element::ONE.inverse(), Element::ONE);
        assert_eq!(Element::ZERO.pow(0), Element::ONE);
    }

    #[test]
    fn the_polynomial_is_irreducible() {
        // This is Rabin's test: x^(256^16) = x, and x^(256^8) − x is invertible. 2 is the only
        // prime that divides 16.
        let x = Element::from_bytes([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let frobenius = |times: usize| (0..8 * times).fold(x, |power, _| power * power);
        assert_eq!(frobenius(16), x);
        let difference = frobenius(8) + x;
        // a^(2^128 − 1) = 1 exactly if a is invertible. All bits of the exponent are ones.
        let mut power = Element::ONE;
        for _ in 0..128 {
            power = power * power * difference;
        }
        assert_eq!(power, Element::ONE);
    }

    proptest! {
        #[test]
        fn products_agree_with_the_definition(a in element(), b in element(), byte: u8) {
            prop_assert_eq!(a * b, schoolbook(a, b));
            prop_assert_eq!(a.times_x(), schoolbook(a, Element::from_bits(1 << 8)));
            prop_assert_eq!(a.square(), schoolbook(a, a));
            prop_assert_eq!(a * a.inverse(), if a == Element::ZERO { a } else { Element::ONE });
            prop_assert_eq!(a.scaled(byte), schoolbook(a, Element::from_bits(u128::from(byte))));
        }

        #[test]
        fn powers_add_their_exponents(a in element(), m in 0_u64..1 << 40, n in 0_u64..1 << 40) {
            prop_assert_eq!(a.pow(m) * a.pow(n), a.pow(m + n));
        }
    }
}
