//! Decodes revert data from an L1 endpoint, which may return anything: all of it becomes a reason
//! of bounded length.
#![no_main]

use dac_chain::Refusal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let refusal = Refusal::decode(data);
    let _ = refusal.effect();
    // 8 MiB of revert data must not become 8 MiB of log.
    assert!(refusal.to_string().len() <= 4096, "{} bytes", refusal.to_string().len());
});
