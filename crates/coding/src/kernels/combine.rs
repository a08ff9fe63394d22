//! Linear combinations of rows over GF(2^8), in which encoding and decoding spend most of their
//! time.
//!
//! The products are those of `reed-solomon-erasure`, which defines the code. Its C code is compiled
//! for AVX2 and the extensions of that time and does not check the processor, so this module checks
//! it first. For the large matrices of large committees there is a kernel that keeps its sums in
//! registers. docs/adr/0001 has the reasons and figures.

use std::vec::Vec;

use reed_solomon_erasure::galois_8::{mul_slice, mul_slice_xor};

#[cfg(any(test, target_arch = "x86_64"))]
use crate::field::gf8;

#[cfg(target_arch = "x86_64")]
use super::{combine_avx2, combine_gfni};

/// Smallest number of outputs for which sums in registers are faster than sums in memory.
#[cfg(target_arch = "x86_64")]
const TILED_MIN_OUTPUTS: usize = 32;

/// A matrix over GF(2^8) that computes some rows from others.
#[derive(Debug)]
pub(crate) struct Combiner {
    /// One row of coefficients for each output.
    coefficients: Vec<Vec<u8>>,
    inputs: usize,
    engine: Engine,
}

/// The code that computes the products.
#[derive(Debug)]
enum Engine {
    /// `reed-solomon-erasure` with its feature `simd-accel`.
    Library,
    /// The GFNI kernel, which computes eight outputs at a time with one instruction for each
    /// product.
    #[cfg(target_arch = "x86_64")]
    Gfni(combine_gfni::Kernel),
    /// The AVX2 kernel, which computes four outputs at a time.
    #[cfg(target_arch = "x86_64")]
    Tiled(combine_avx2::Kernel),
    /// Look-up tables, for processors that support none of the others.
    #[cfg(target_arch = "x86_64")]
    Tables,
}

impl Engine {
    #[cfg(target_arch = "x86_64")]
    fn choose(coefficients: &[Vec<u8>]) -> Self {
        if let Some(kernel) = combine_gfni::Kernel::new(coefficients) {
            return Engine::Gfni(kernel);
        }
        match combine_avx2::Kernel::new(coefficients) {
            Some(kernel) if coefficients.len() >= TILED_MIN_OUTPUTS => Engine::Tiled(kernel),
            _ if library_runs_here() => Engine::Library,
            _ => Engine::Tables,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn choose(_: &[Vec<u8>]) -> Self {
        Engine::Library
    }
}

/// Returns whether this processor has all extensions that a C compiler may use under
/// `-march=haswell`.
#[cfg(target_arch = "x86_64")]
fn library_runs_here() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2")
        && has!("bmi1")
        && has!("bmi2")
        && has!("fma")
        && has!("f16c")
        && has!("lzcnt")
        && has!("movbe")
}

impl Combiner {
    /// Makes a combiner from one row of coefficients for each output. A row has one coefficient for
    /// each input.
    pub(crate) fn new(coefficients: Vec<Vec<u8>>) -> Self {
        let inputs = coefficients.first().map_or(0, Vec::len);
        assert!(coefficients.iter().all(|row| row.len() == inputs), "a matrix has rows of one length");
        Self { engine: Engine::choose(&coefficients), coefficients, inputs }
    }

    /// Overwrites each output with its combination of the inputs. All slices must have the same
    /// length; short ones stay in the cache.
    pub(crate) fn apply(&self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
        assert_eq!(outputs.len(), self.coefficients.len(), "one output for each row of the matrix");
        let Some(length) = outputs.first().map(|output| output.len()) else { return };
        assert_eq!(inputs.len(), self.inputs, "one input for each column of the matrix");
        assert!(inputs.iter().all(|input| input.len() == length), "all inputs are as long as the outputs");
        assert!(outputs.iter().all(|output| output.len() == length), "all outputs are of one length");
        match &self.engine {
            Engine::Library => self.each_output(inputs, outputs, combine_by_library),
            #[cfg(target_arch = "x86_64")]
            Engine::Gfni(kernel) => kernel.apply(inputs, outputs),
            #[cfg(target_arch = "x86_64")]
            Engine::Tiled(kernel) => {
                let done = kernel.apply(inputs, outputs);
                if done < length {
                    let inputs: Vec<&[u8]> = inputs.iter().map(|input| &input[done..]).collect();
                    let mut rest: Vec<&mut [u8]> =
                        outputs.iter_mut().map(|output| &mut output[done..]).collect();
                    self.each_output(&inputs, &mut rest, combine_by_tables);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Engine::Tables => self.each_output(inputs, outputs, combine_by_tables),
        }
    }

    fn each_output(
        &self,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        combine: fn(coefficients: &[u8], inputs: &[&[u8]], output: &mut [u8]),
    ) {
        for (row, output) in self.coefficients.iter().zip(outputs) {
            combine(row, inputs, output);
        }
    }
}

fn combine_by_library(coefficients: &[u8], inputs: &[&[u8]], output: &mut [u8]) {
    let mut pairs = coefficients.iter().zip(inputs);
    match pairs.next() {
        Some((&coefficient, input)) => mul_slice(coefficient, input, output),
        None => output.fill(0),
    }
    for (&coefficient, input) in pairs {
        mul_slice_xor(coefficient, input, output);
    }
}

/// The definition of the combination, computed byte by byte.
#[cfg(target_arch = "x86_64")]
fn combine_by_tables(coefficients: &[u8], inputs: &[&[u8]], output: &mut [u8]) {
    output.fill(0);
    for (&coefficient, input) in coefficients.iter().zip(inputs) {
        let multiples = &gf8::NIBBLE_MULTIPLES[usize::from(coefficient)];
        for (to, from) in output.iter_mut().zip(*input) {
            *to ^= multiples[usize::from(from & 15)] ^ multiples[usize::from(16 + (from >> 4))];
        }
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

    /// Returns every engine that can run on this processor.
    fn engines(matrix: &[Vec<u8>]) -> Vec<Engine> {
        #[cfg(target_arch = "x86_64")]
        {
            let mut engines = vec![Engine::Tables];
            engines.extend(combine_avx2::Kernel::new(matrix).map(Engine::Tiled));
            engines.extend(combine_gfni::Kernel::new(matrix).map(Engine::Gfni));
            engines.extend(library_runs_here().then_some(Engine::Library));
            engines
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = matrix;
            vec![Engine::Library]
        }
    }

    proptest! {
        #[test]
        fn every_engine_combines(
            (matrix, inputs) in (0_usize..40, 1_usize..9, 1_usize..300).prop_flat_map(|(outputs, inputs, length)| {
                (rows(outputs, inputs), rows(inputs, length))
            }),
        ) {
            let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
            let mut expected = vec![vec![0; inputs[0].len()]; matrix.len()];
            for (row, output) in matrix.iter().zip(&mut expected) {
                for (coefficient, input) in row.iter().zip(&inputs) {
                    for (to, from) in output.iter_mut().zip(*input) {
                        *to ^= gf8::mul(*coefficient, *from);
                    }
                }
            }
            let with = |engine| Combiner { coefficients: matrix.clone(), inputs: inputs.len(), engine };
            let forced = engines(&matrix).into_iter().map(with);
            for combiner in forced.chain([Combiner::new(matrix.clone())]) {
                let mut got = vec![vec![0xEE; inputs[0].len()]; matrix.len()];
                let mut outputs: Vec<&mut [u8]> = got.iter_mut().map(Vec::as_mut_slice).collect();
                combiner.apply(&inputs, &mut outputs);
                prop_assert_eq!(&got, &expected, "{:?}", std::mem::discriminant(&combiner.engine));
            }
        }
    }
}
