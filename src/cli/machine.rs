//! What the machine has: its memory, or as much of it as the server's control group may use.

use std::fs;

/// Three quarters of the memory; nothing where the system doesn't say.
pub fn default_memory_limit() -> Option<usize> {
    let bytes = [total(), group()].into_iter().flatten().min()?;
    usize::try_from(bytes / 4 * 3).ok()
}

fn total() -> Option<u64> {
    total_of(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// `MemTotal:       24585820 kB`
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes = line.trim().strip_suffix("kB")?.trim();
    kilobytes.parse::<u64>().ok()?.checked_mul(1024)
}

/// The least limit of the process' control group (version 2) and of those that it is in.
fn group() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mut limits = Vec::new();
    let mut folder = std::path::Path::new("/sys/fs/cgroup").join(path);
    loop {
        // The file says `max` where there is no limit.
        if let Ok(text) = fs::read_to_string(folder.join("memory.max"))
            && let Ok(limit) = text.trim().parse::<u64>()
        {
            limits.push(limit);
        }
        if !folder.starts_with("/sys/fs/cgroup/") || !folder.pop() {
            return limits.into_iter().min();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_in_kilobytes() {
        let text = "MemTotal:       24585820 kB\nMemFree:        1 kB\n";
        assert_eq!(total_of(text), Some(24_585_820 * 1024));
        assert_eq!(total_of("MemFree: 1 kB"), None);
    }
}
