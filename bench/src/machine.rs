//! A description of the machine on which the benchmarks run.

use std::fs;

/// Returns the processor's name, the number of processors, the memory and the kernel's version. A
/// value that cannot be read is left out.
pub fn describe() -> String {
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let count = cores();
    let flags = field("/proc/cpuinfo", "flags").unwrap_or_default();
    let has: Vec<&str> = ["avx2", "avx512bw", "gfni", "sha_ni"]
        .into_iter()
        .filter(|name| flags.split(' ').any(|flag| flag == *name))
        .collect();
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .map_or_else(String::new, |kib| format!(", {} GiB of memory", (kib + (1 << 19)) >> 20));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
        |_| String::new(),
        |release| {
            // The suffix that distributions add to the kernel's version says nothing about speed.
            let version = release.trim().split('-').next().unwrap_or_default();
            format!(", Linux {version}")
        },
    );
    format!("{count} processors {processor} ({}){memory}{kernel}", has.join(", "))
}

/// Returns the number of processors that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
