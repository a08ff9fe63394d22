//! Measures other projects' released crates in the same run, with the programs of `bench/peers`,
//! which are not part of the workspace.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// The programs that `make bench` builds.
const PROGRAMS: [&str; 2] = ["peer-commonware-2026-5", "peer-commonware-newest"];

/// Times of one scheme, in milliseconds of the fastest run, on one thread.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PeerTimes {
    /// The peer's name and release.
    pub scheme: String,
    /// The time from a payload to shards and commitment.
    pub encode_ms: f64,
    /// The time of a member's check of its shard.
    pub check_ms: f64,
    /// The time of decoding from the last k shards.
    pub decode_ms: f64,
}

/// Returns the times of every peer whose program was built. A program that was not built is left
/// out, and a message says so.
///
/// # Panics
///
/// If a peer's program fails, because there is nothing to compare with then.
pub fn measure(n: u16, k: u16, bytes: usize, runs: usize) -> Vec<PeerTimes> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/release");
    PROGRAMS
        .into_iter()
        .filter_map(|name| {
            let program = folder.join(name);
            if !program.exists() {
                eprintln!("{name} is not built, `make bench` builds it: measured without it");
                return None;
            }
            let arguments = [usize::from(n), usize::from(k), bytes, runs].map(|number| number.to_string());
            let output = Command::new(program).args(arguments).output().expect("the program runs");
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout).expect("text");
            let release = name.trim_start_matches("peer-commonware-").replace("2026-5", "2026.5.0");
            Some(text.lines().map(|line| named(line, &release)).collect::<Vec<_>>())
        })
        .flatten()
        .collect()
}

fn named(line: &str, release: &str) -> PeerTimes {
    let times: PeerTimes = serde_json::from_str(line).expect("one object a line");
    PeerTimes { scheme: format!("commonware-coding {release}, {}", times.scheme), ..times }
}
