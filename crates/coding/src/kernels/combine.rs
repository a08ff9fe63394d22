//! Linear combinations of rows over GF(2^8): where encoding and decoding spend their time.

use alloc::vec::Vec;

use crate::field::gf8;

/// A matrix over GF(2^8) that turns some rows into others.
#[derive(Debug)]
pub(crate) struct Combiner {
    /// One row of coefficients for each output.
    coefficients: Vec<Vec<u8>>,
}

impl Combiner {
    /// From one row of coefficients for each output; a row has one coefficient for each input.
    pub(crate) fn new(coefficients: Vec<Vec<u8>>) -> Self {
        Self { coefficients }
    }

    /// Overwrites each output with its combination of the inputs. All slices have one length.
    pub(crate) fn apply(&self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
        assert_eq!(outputs.len(), self.coefficients.len(), "one output for each row of the matrix");
        for (row, output) in self.coefficients.iter().zip(outputs) {
            assert_eq!(inputs.len(), row.len(), "one input for each column of the matrix");
            let mut started = false;
            for (&coefficient, input) in row.iter().zip(inputs) {
                if coefficient == 0 {
                    continue;
                }
                if started {
                    add_multiple(coefficient, input, output);
                } else {
                    set_multiple(coefficient, input, output);
                    started = true;
                }
            }
            if !started {
                output.fill(0);
            }
        }
    }
}

/// The C code of `simd-accel` is compiled for AVX2 and its contemporaries without asking the processor.
fn accelerated() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("bmi2")
            && std::arch::is_x86_feature_detected!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        true
    }
}

fn add_multiple(coefficient: u8, input: &[u8], output: &mut [u8]) {
    if accelerated() {
        reed_solomon_erasure::galois_8::mul_slice_xor(coefficient, input, output);
    } else {
        portable::add_multiple(coefficient, input, output);
    }
}

fn set_multiple(coefficient: u8, input: &[u8], output: &mut [u8]) {
    if accelerated() {
        reed_solomon_erasure::galois_8::mul_slice(coefficient, input, output);
    } else {
        output.fill(0);
        portable::add_multiple(coefficient, input, output);
    }
}

mod portable {
    use super::gf8;

    pub(super) fn add_multiple(coefficient: u8, input: &[u8], output: &mut [u8]) {
        let mut multiples = [0; 256];
        for (multiple, byte) in multiples.iter_mut().zip(0..=255) {
            *multiple = gf8::mul(coefficient, byte);
        }
        for (to, from) in output.iter_mut().zip(input) {
            *to ^= multiples[usize::from(*from)];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn accelerated_and_portable_agree(coefficient: u8, input in proptest::collection::vec(any::<u8>(), 1..200), seed: u8) {
            let mut fast: Vec<u8> = (0..input.len()).map(|i| i.to_le_bytes()[0] ^ seed).collect();
            let mut portable = fast.clone();
            add_multiple(coefficient, &input, &mut fast);
            portable::add_multiple(coefficient, &input, &mut portable);
            prop_assert_eq!(fast, portable);
        }
    }
}
