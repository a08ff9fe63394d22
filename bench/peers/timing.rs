// The parts that both peers' programs share: arguments, repeated timing, and the line that they
// print.

use std::time::Instant;

/// The parameters of a measurement: the code's geometry, the payload's bytes, and the number of
/// runs.
pub struct Task {
    pub n: u16,
    pub k: u16,
    pub bytes: usize,
    pub runs: usize,
}

impl Task {
    /// Reads the parameters from the command line: `N K BYTES RUNS`.
    pub fn from_arguments() -> Self {
        let mut numbers =
            std::env::args().skip(1).map(|argument| argument.parse::<usize>().expect("a number"));
        let mut next = || numbers.next().expect("four numbers: N K BYTES RUNS");
        let small = |number: usize| u16::try_from(number).expect("at most 65535");
        Self { n: small(next()), k: small(next()), bytes: next(), runs: next() }
    }

    /// Returns a payload of bytes that cannot be compressed, the same in each run.
    pub fn payload(&self) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        words.flatten().take(self.bytes).collect()
    }

    /// Returns the milliseconds of the fastest run, and the last run's result. Results are dropped
    /// outside the measured time.
    pub fn best_ms<T>(&self, mut operation: impl FnMut() -> T) -> (f64, T) {
        let mut best = f64::INFINITY;
        let mut last = None;
        for _ in 0..self.runs.max(1) {
            drop(last.take());
            let start = Instant::now();
            let result = std::hint::black_box(operation());
            best = best.min(start.elapsed().as_secs_f64() * 1e3);
            last = Some(result);
        }
        (best, last.expect("at least one run"))
    }
}

/// Prints one JSON object on a line, which the coding benchmark reads.
pub fn print(scheme: &str, encode_ms: f64, check_ms: f64, decode_ms: f64) {
    println!(
        "{}",
        serde_json::json!({ "scheme": scheme, "encode_ms": encode_ms, "check_ms": check_ms, "decode_ms": decode_ms })
    );
}
