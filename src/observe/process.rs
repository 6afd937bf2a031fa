//! What the operating system says about this process.

use std::fs;

/// The memory of this process that is in RAM, in bytes; `None` where `/proc` is not there.
pub fn resident_bytes() -> Option<u64> {
    resident_bytes_in(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Reads the line `VmRSS:     1234 kB` of `/proc/[pid]/status`, whose kB are 1024 bytes (proc(5)).
fn resident_bytes_in(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::{resident_bytes, resident_bytes_in};

    #[test]
    fn the_resident_line_is_read_in_kibibytes() {
        let status = "Name:\tstreamweir\nVmRSS:\t   20480 kB\nThreads:\t4\n";
        assert_eq!(resident_bytes_in(status), Some(20_971_520));
        assert_eq!(resident_bytes_in("Name:\tkthread\n"), None);
    }

    #[test]
    fn this_process_holds_more_than_a_megabyte() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1_000_000));
    }
}
