//! Reads the resources that a process used, as Linux counts them.

use std::fs;
use std::time::Duration;

use dac_tests::{Context, Result};

/// The clock ticks a second of the times in `/proc/PID/stat`. Linux shows programs this value on
/// every architecture.
const TICKS_PER_SECOND: u64 = 100;

/// The positions of a process's own ticks in `/proc/PID/stat`, counted after the program's name:
/// those in the program, and those in the kernel for it.
const OWN_TICKS: [usize; 2] = [11, 12];
/// The positions of the ticks of children that have ended.
const CHILDREN_TICKS: [usize; 2] = [13, 14];

/// Counters of a process, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The CPU time in the process and in the kernel for it.
    pub cpu: Duration,
    /// The bytes that the process had written to storage, without those that a database server
    /// writes for it.
    pub written_bytes: u64,
}

impl Usage {
    /// Reads the usage of a running process.
    pub fn of(process: u32) -> Result<Self> {
        let ticks = stat(process, OWN_TICKS)?;
        let written_bytes = value(&read(process, "io")?, "write_bytes:")?;
        Ok(Self { cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND), written_bytes })
    }

    /// Reads the usage of a process with its children, including those that have ended. A
    /// PostgreSQL server has one child process for each connection.
    pub fn of_family(process: u32) -> Result<Self> {
        let mut sum = Self::of(process)?;
        let ended = stat(process, CHILDREN_TICKS)?;
        sum.cpu += Duration::from_millis(ended * 1000 / TICKS_PER_SECOND);
        for child in read(process, &format!("task/{process}/children"))?.split_whitespace() {
            // A child that ends at this moment is counted with those that have ended.
            if let Ok(usage) = Self::of(child.parse()?) {
                sum.cpu += usage.cpu;
                sum.written_bytes += usage.written_bytes;
            }
        }
        Ok(sum)
    }

    /// Returns the usage since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
        }
    }
}

/// Returns the largest number of bytes of memory that the process has had resident so far.
pub fn peak_memory_bytes(process: u32) -> Result<u64> {
    Ok(value(&read(process, "status")?, "VmHWM:")? << 10)
}

/// Returns the bytes that all processes of this machine have sent to one another over the loopback
/// device.
pub fn loopback_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/dev").context("/proc/net/dev")?;
    let counters = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:"));
    // The line has eight counters of received data, then those of sent data, of which the first is
    // bytes. On the loopback device both are the same.
    Ok(counters.and_then(|line| line.split_whitespace().nth(8)).context("/proc/net/dev: lo")?.parse()?)
}

/// Returns the sum of some fields of `/proc/PID/stat`.
fn stat(process: u32, fields: [usize; 2]) -> Result<u64> {
    let stat = read(process, "stat")?;
    // The second field is the program's name in parentheses, and may contain anything.
    let (_, rest) = stat.rsplit_once(')').context("/proc/PID/stat")?;
    let mut sum = 0;
    for field in fields {
        sum += rest.split_whitespace().nth(field).context("/proc/PID/stat")?.parse::<u64>()?;
    }
    Ok(sum)
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
        let family = Usage::of_family(own).unwrap();
        assert!(family.cpu >= Duration::from_millis(30), "{family:?}");
    }

    #[test]
    fn bytes_over_the_loopback_device_show() {
        use std::io::{Read, Write};
        use std::net::{TcpListener, TcpStream};

        const BYTES: usize = 1 << 20;
        let before = loopback_bytes().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        let reading = std::thread::spawn(move || receiver.read_to_end(&mut Vec::new()).unwrap());
        sender.write_all(&vec![7; BYTES]).unwrap();
        drop(sender);
        assert_eq!(reading.join().unwrap(), BYTES);
        assert!(loopback_bytes().unwrap() - before >= BYTES as u64);
    }
}
