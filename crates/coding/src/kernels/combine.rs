//! Linear combinations of rows over GF(2^8): where encoding and decoding spend their time.

use std::vec::Vec;

#[cfg(target_arch = "x86_64")]
use super::combine_avx2;

/// A matrix over GF(2^8) that turns some rows into others.
#[derive(Debug)]
pub(crate) struct Combiner {
    /// One row of coefficients for each output.
    coefficients: Vec<Vec<u8>>,
    inputs: usize,
    #[cfg(target_arch = "x86_64")]
    avx2: Option<combine_avx2::Kernel>,
}

impl Combiner {
    /// From one row of coefficients for each output; a row has one coefficient for each input.
    pub(crate) fn new(coefficients: Vec<Vec<u8>>) -> Self {
        let inputs = coefficients.first().map_or(0, Vec::len);
        assert!(coefficients.iter().all(|row| row.len() == inputs), "a matrix has rows of one length");
        Self {
            #[cfg(target_arch = "x86_64")]
            avx2: combine_avx2::Kernel::new(&coefficients),
            coefficients,
            inputs,
        }
    }

    /// Overwrites each output with its combination of the inputs. All slices have one length; short ones stay in the cache.
    pub(crate) fn apply(&self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
        assert_eq!(outputs.len(), self.coefficients.len(), "one output for each row of the matrix");
        let Some(length) = outputs.first().map(|output| output.len()) else { return };
        assert_eq!(inputs.len(), self.inputs, "one input for each column of the matrix");
        assert!(inputs.iter().all(|input| input.len() == length), "all inputs are as long as the outputs");
        assert!(outputs.iter().all(|output| output.len() == length), "all outputs are of one length");
        #[cfg(target_arch = "x86_64")]
        let done = self.avx2.as_ref().map_or(0, |kernel| kernel.apply(inputs, outputs));
        #[cfg(not(target_arch = "x86_64"))]
        let done = 0;
        if done < length {
            let inputs: Vec<&[u8]> = inputs.iter().map(|input| &input[done..]).collect();
            for (row, output) in self.coefficients.iter().zip(outputs) {
                combine_portably(row, &inputs, &mut output[done..]);
            }
        }
    }
}

/// What it all means, by the tables of `reed-solomon-erasure`; on other processors than x86-64 that is also the fast way.
fn combine_portably(coefficients: &[u8], inputs: &[&[u8]], output: &mut [u8]) {
    output.fill(0);
    for (&coefficient, input) in coefficients.iter().zip(inputs) {
        add_multiple(coefficient, input, output);
    }
}

#[cfg(not(target_arch = "x86_64"))]
use reed_solomon_erasure::galois_8::mul_slice_xor as add_multiple;

/// The C code of `simd-accel` is compiled for AVX2 and its contemporaries and does not ask the processor, so that it must
/// not be called where this is.
#[cfg(target_arch = "x86_64")]
fn add_multiple(coefficient: u8, input: &[u8], output: &mut [u8]) {
    let multiples = &crate::field::gf8::NIBBLE_MULTIPLES[usize::from(coefficient)];
    for (to, from) in output.iter_mut().zip(input) {
        *to ^= multiples[usize::from(from & 15)] ^ multiples[usize::from(16 + (from >> 4))];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(
        count: impl Into<proptest::collection::SizeRange>,
        length: usize,
    ) -> impl Strategy<Value = Vec<Vec<u8>>> {
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), length), count)
    }

    proptest! {
        #[test]
        fn every_kernel_combines(
            (matrix, inputs) in (0_usize..11, 1_usize..9, 1_usize..300).prop_flat_map(|(outputs, inputs, length)| {
                (rows(outputs, inputs), rows(inputs, length))
            }),
        ) {
            let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
            let mut expected = vec![vec![0; inputs[0].len()]; matrix.len()];
            for (row, output) in matrix.iter().zip(&mut expected) {
                for (coefficient, input) in row.iter().zip(&inputs) {
                    reed_solomon_erasure::galois_8::mul_slice_xor(*coefficient, input, output);
                }
            }
            let mut fast = vec![vec![0xEE; inputs[0].len()]; matrix.len()];
            let mut outputs: Vec<&mut [u8]> = fast.iter_mut().map(Vec::as_mut_slice).collect();
            Combiner::new(matrix.clone()).apply(&inputs, &mut outputs);
            prop_assert_eq!(&fast, &expected);
            let mut portable = vec![vec![0xEE; inputs[0].len()]; matrix.len()];
            for (row, output) in matrix.iter().zip(&mut portable) {
                combine_portably(row, &inputs, output);
            }
            prop_assert_eq!(&portable, &expected);
        }
    }
}
