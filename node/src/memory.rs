//! How much memory this process may have, and how much of it each worker may hold for clients.

/// A worker holds so much for clients if nobody says, in bytes: no less, for that is little on any machine, and no more,
/// for that is sixty-four messages of the largest size at once.
const LEAST: u64 = 64 * 1024 * 1024;
const MOST: u64 = 256 * 1024 * 1024;

/// What each of `workers` may hold for clients, in bytes: together an eighth of `memory`, since what is held takes
/// memory besides, and handlers need theirs.
pub(crate) fn for_clients(memory: Option<u64>, workers: u16) -> u64 {
    let share = memory.map_or(LEAST, |memory| memory / 8 / u64::from(workers.max(1)));
    share.clamp(LEAST, MOST)
}

/// How many bytes of memory this process may have: those of the machine, or what its control group has of them
/// (cgroup v2). None where it cannot be read, as where there is no Linux.
pub(crate) fn of_this_machine() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    of(&read)
}

fn of(read: &impl Fn(&str) -> Option<String>) -> Option<u64> {
    let machine = read("/proc/meminfo").and_then(|info| total(&info));
    let group = read("/proc/self/cgroup").and_then(|groups| {
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?.trim_end_matches('/').to_owned();
        limit(&path, read)
    });
    machine.into_iter().chain(group).min()
}

fn total(info: &str) -> Option<u64> {
    let kibibytes =
        info.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))?;
    Some(kibibytes.trim().parse::<u64>().ok()? * 1024)
}

/// The least that the group at `path`, or one that it is in, says. In a container the path may be one of the host, and
/// the group is what is mounted.
fn limit(path: &str, read: &impl Fn(&str) -> Option<String>) -> Option<u64> {
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    let limits = ends.filter_map(|end| read(&format!("/sys/fs/cgroup{}/memory.max", &path[..end])));
    limits.filter_map(|limit| limit.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       16384000 kB\nMemFree:          100000 kB\n";
    const MACHINE: u64 = 16_384_000 * 1024;

    fn read(files: &[(&str, &str)]) -> Option<u64> {
        of(&|path| files.iter().find(|(known, _)| *known == path).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn memory_is_that_of_the_machine_or_of_the_tightest_group() {
        let info = ("/proc/meminfo", MEMINFO);
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[info]), Some(MACHINE));
        let group = ("/proc/self/cgroup", "0::/pods/this\n");
        let (inner, outer) = ("/sys/fs/cgroup/pods/this/memory.max", "/sys/fs/cgroup/pods/memory.max");
        assert_eq!(read(&[info, group, (inner, "max\n")]), Some(MACHINE));
        assert_eq!(read(&[info, group, (inner, "max\n"), (outer, "4000000\n")]), Some(4_000_000));
        assert_eq!(read(&[info, group, (inner, "3000000\n"), (outer, "4000000\n")]), Some(3_000_000));
        let container = [info, ("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "5000000\n")];
        assert_eq!(read(&container), Some(5_000_000));
    }

    #[test]
    fn workers_share_an_eighth_within_bounds() {
        assert_eq!(for_clients(None, 4), 64 * 1024 * 1024);
        assert_eq!(for_clients(Some(1 << 30), 4), 64 * 1024 * 1024);
        assert_eq!(for_clients(Some(4 << 30), 4), 128 * 1024 * 1024);
        assert_eq!(for_clients(Some(1 << 40), 4), 256 * 1024 * 1024);
    }
}
