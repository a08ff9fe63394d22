//! What a process used up, as Linux counts it.

use std::fs;
use std::time::Duration;

use dac_tests::{Context, Result};

/// Of `/proc/PID/stat`: clock ticks a second towards programs, on every architecture.
const TICKS_PER_SECOND: u64 = 100;

/// Counters of a process, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In the process and in the kernel for it.
    pub cpu: Duration,
    /// Bytes that it had written to storage. What a database server writes for it is not among them.
    pub written_bytes: u64,
}

impl Usage {
    /// Of a running process.
    pub fn of(process: u32) -> Result<Self> {
        let stat = read(process, "stat")?;
        // The second field is the program's name in parentheses, and may contain anything.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let field = |index: usize| -> Result<u64> {
            Ok(fields.split_whitespace().nth(index).context("/proc/PID/stat")?.parse()?)
        };
        let ticks = field(11)? + field(12)?;
        let written_bytes = value(&read(process, "io")?, "write_bytes:")?;
        Ok(Self { cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND), written_bytes })
    }

    /// Since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
        }
    }
}

/// Most bytes of memory that a process ever had resident.
pub fn peak_memory_bytes(process: u32) -> Result<u64> {
    Ok(value(&read(process, "status")?, "VmHWM:")? << 10)
}

fn read(process: u32, name: &str) -> Result<String> {
    let path = format!("/proc/{process}/{name}");
    fs::read_to_string(&path).context(path)
}

fn value(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context(name)?;
    Ok(line.split_whitespace().next().context(name)?.parse()?)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn work_shows() {
        let own = std::process::id();
        let (before, start) = (Usage::of(own).unwrap(), Instant::now());
        let mut sum = 0_u64;
        while Usage::of(own).unwrap().since(before).cpu < Duration::from_millis(30) {
            assert!(start.elapsed() < Duration::from_secs(60), "a busy process uses time");
            sum = std::hint::black_box((0..1_000_000_u64).fold(sum, |sum, next| sum ^ next));
        }
        assert!(peak_memory_bytes(own).unwrap() > 1 << 20);
        assert!(Usage::of(0).is_err());
    }
}
