//! Revert data from an L1 endpoint: anything may come back, and all of it becomes a reason of bounded length.
#![no_main]

use dac_chain::Revert;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let revert = Revert::decode(data);
    let _ = (revert.is_final(), revert.may_pass());
    // 8 MiB of revert data must not become 8 MiB of log.
    assert!(revert.to_string().len() <= 4096, "{} bytes", revert.to_string().len());
});
