//! The server itself.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus::Error;
use rustix::time::{ClockId, clock_gettime};

use super::family::{Family, Text, float};

/// Writes what there is on this process, which came up at `born`.
pub(super) fn write(born: SystemTime, text: &mut Text) -> Result<(), Error> {
    let mut version = Family::gauges("hob_build_info", "Always 1; the version is in the label.");
    version.gauge(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    text.add(version)?;
    let mut cpu = Family::counters(
        "process_cpu_seconds_total",
        "Processor time of the server, without its replicas.",
    );
    cpu.count(&[], cpu_seconds());
    text.add(cpu)?;
    let mut memory = Family::gauges(
        "process_resident_memory_bytes",
        "Resident memory of the server, without its replicas.",
    );
    memory.gauge(&[], float(resident_memory()));
    text.add(memory)?;
    let mut start = Family::gauges(
        "process_start_time_seconds",
        "When the server came up, in Unix time.",
    );
    let since_epoch = born.duration_since(UNIX_EPOCH).unwrap_or_default();
    start.gauge(&[], since_epoch.as_secs_f64());
    text.add(start)
}

/// Of this process, in bytes; 0 where the kernel does not tell.
pub(crate) fn resident_memory() -> u64 {
    // A read of procfs never waits for a disk.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    float(seconds) + float(nanos) / 1e9
}
