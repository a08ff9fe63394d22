//! The process's own use of resources, for the metrics page, under the names that all Prometheus
//! clients use.

use std::fmt::Write;
use std::fs;
use std::sync::LazyLock;

use crate::telemetry;

/// The ticks of `/proc/self/stat` in a second; Linux has this number on all common machines.
const TICKS_PER_SECOND: f64 = 100.0;
/// The positions of fields in `/proc/self/stat` after the program's name: the time in user mode, in
/// the kernel, and of the start since boot.
const USER_FIELD: usize = 11;
const SYSTEM_FIELD: usize = 12;
const START_FIELD: usize = 19;

/// The part of the page about the process. Values that the system does not tell are left out.
pub(crate) fn page() -> String {
    let mut page = String::new();
    let mut line = |name: &str, kind: &str, help: &str, labels: &str, value: Option<f64>| {
        if let Some(value) = value {
            let _ = write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}\n\n");
        }
    };
    let version = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    line("dac_build_info", "gauge", "Always 1; the label says which version runs", version, Some(1.0));
    #[expect(clippy::cast_precision_loss, reason = "a counter")]
    let lost = telemetry::lines_lost() as f64;
    line(
        "dac_log_lines_lost_total",
        "counter",
        "Log lines that were never written: the log was not read, or had no room",
        "",
        Some(lost),
    );
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let used = stat
        .as_deref()
        .and_then(|stat| Some((field(stat, USER_FIELD)? + field(stat, SYSTEM_FIELD)?) / TICKS_PER_SECOND));
    line("process_cpu_seconds_total", "counter", "CPU time in user mode and in the kernel", "", used);
    let start = BOOT_TIME.zip(stat.as_deref().and_then(|stat| field(stat, START_FIELD)));
    let start = start.map(|(boot, ticks)| boot + ticks / TICKS_PER_SECOND);
    line("process_start_time_seconds", "gauge", "Unix time at which the process started", "", start);
    let status = fs::read_to_string("/proc/self/status").ok();
    let memory = |key: &str| status.as_deref().and_then(|status| kibibytes(status, key));
    line("process_resident_memory_bytes", "gauge", "Memory in use", "", memory("VmRSS:"));
    line("process_virtual_memory_bytes", "gauge", "Addresses in use", "", memory("VmSize:"));
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    // One of the descriptors is the one with which the folder is read.
    let open = fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1) as f64);
    line("process_open_fds", "gauge", "Open file descriptors", "", open);
    let limits = fs::read_to_string("/proc/self/limits").ok();
    let most = limits.as_deref().and_then(descriptors);
    line("process_max_fds", "gauge", "File descriptors that may be open", "", most);
    page
}

/// The Unix time at which the machine started.
static BOOT_TIME: LazyLock<Option<f64>> = LazyLock::new(|| {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
});

/// A field after the program's name. The name stands in brackets and may itself contain spaces and
/// brackets.
fn field(stat: &str, place: usize) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split_ascii_whitespace().nth(place)?.parse().ok()
}

fn kibibytes(status: &str, key: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    value.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kibibytes| kibibytes * 1024.0)
}

fn descriptors(limits: &str) -> Option<f64> {
    let value = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match value.split_ascii_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 3 0 1000 9 9";
        assert_eq!((field(stat, USER_FIELD), field(stat, SYSTEM_FIELD)), (Some(250.0), Some(50.0)));
        assert_eq!(field(stat, START_FIELD), Some(1000.0));
        assert_eq!(field("42 (a", 0), None);
        assert_eq!(kibibytes("VmSize:\t  8 kB\nVmRSS:\t     512 kB\n", "VmRSS:"), Some(524_288.0));
        let limits = "Max open files            1024                 4096                 files     \n";
        assert_eq!(descriptors(limits), Some(1024.0));
        assert_eq!(descriptors("Max open files unlimited unlimited files"), Some(f64::INFINITY));
    }

    #[test]
    fn the_page_tells_of_this_process() {
        let page = page();
        let value = |name: &str| -> f64 {
            let line = page.lines().find(|line| line.split_once(' ').is_some_and(|(key, _)| key == name));
            line.unwrap_or_else(|| panic!("{name} in {page}")).rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") < value("process_max_fds"));
        assert!(value("process_start_time_seconds") > 1.7e9);
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert_eq!(value(concat!("dac_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}")), 1.0);
        assert_eq!(page.matches("# HELP ").count(), page.matches("# TYPE ").count());
    }
}
