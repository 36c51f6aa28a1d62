//! Which process holds a claim, and whether it is still there.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// What tells a process from all others, as far as the system says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// Name of the machine.
    pub(super) host: String,
    /// Number of the process on it.
    pub(super) pid: u32,
    /// Equal for two processes only if they see the same process numbers: of the same start of the same machine, in
    /// the same container. None where the system cannot tell.
    pub(super) machine: Option<String>,
    /// When it began, in ticks of the machine's clock since it started: tells a number used again.
    pub(super) started: Option<u64>,
}

impl Process {
    /// This process.
    pub(super) fn current() -> Self {
        static CURRENT: OnceLock<Process> = OnceLock::new();
        CURRENT
            .get_or_init(|| {
                let (machine, started) = system::place().unzip();
                Self { host: host_name(), pid: std::process::id(), machine, started }
            })
            .clone()
    }

    /// Whether `observer` would see the process if it ran.
    pub(super) fn is_near(&self, observer: &Self) -> bool {
        self.machine.is_some() && self.machine == observer.machine && self.host == observer.host
    }

    /// Whether the process has certainly ended. False if `observer` cannot know.
    pub(super) fn has_ended(&self, observer: &Self) -> bool {
        self.is_near(observer) && system::has_ended(self.pid, self.started)
    }
}

#[cfg(unix)]
fn host_name() -> String {
    let mut name = [0u8; 256];
    // SAFETY: the pointer and the length are those of `name`, which outlives the call.
    let answer = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    if answer != 0 || end == 0 {
        return "unknown".into();
    }
    String::from_utf8_lossy(&name[..end]).into_owned()
}

#[cfg(not(unix))]
fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "unknown".into())
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs;

    /// Machine and start of this process.
    pub(super) fn place() -> Option<(String, u64)> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // Under a /proc of another container the numbers mean other processes.
        if stat.split(' ').next()?.parse() != Ok(std::process::id()) {
            return None;
        }
        let (_, started) = parse(&stat)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let numbers = fs::read_link("/proc/self/ns/pid").ok()?;
        // Older systems have no clocks of their own in containers.
        let clock = fs::read_link("/proc/self/ns/time").unwrap_or_default();
        Some((format!("{} {} {}", boot.trim(), numbers.display(), clock.display()), started))
    }

    pub(super) fn has_ended(pid: u32, started: Option<u64>) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        match stat.ok().as_deref().and_then(parse) {
            // Z, X: ended, and its parent has not asked how.
            Some((state, since)) => matches!(state, 'Z' | 'X') || started.is_some_and(|started| started != since),
            // Also where /proc hides the processes of other users.
            None => no_such_process(pid),
        }
    }

    /// State and start in a line of /proc/PID/stat; the program's name before them may hold anything.
    fn parse(stat: &str) -> Option<(char, u64)> {
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        let state = fields.next()?.chars().next()?;
        Some((state, fields.nth(18)?.parse().ok()?))
    }

    fn no_such_process(pid: u32) -> bool {
        let Ok(pid) = libc::pid_t::try_from(pid) else {
            return false;
        };
        // SAFETY: signal 0 is not sent; the call only says whether it could be. 0 would mean the whole group.
        let answer = unsafe { libc::kill(pid.max(1), 0) };
        answer == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn a_line_of_stat_is_read_whatever_the_name() {
            let rest = "S 1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 0 0";
            for name in ["cat", "a b", "x) R 1", "(("] {
                assert_eq!(super::parse(&format!("17 ({name}) {rest}")), Some(('S', 987654)), "{name}");
            }
            assert_eq!(super::parse("17 (cat) S 1"), None);
        }
    }
}

/// Elsewhere only the lease tells that a process ended.
#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn place() -> Option<(String, u64)> {
        None
    }

    pub(super) fn has_ended(_: u32, _: Option<u64>) -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_ended_process_and_a_number_used_again_are_told_from_a_running_one() {
        let here = Process::current();
        assert!(!here.has_ended(&here));
        let used_again = Process { started: here.started.map(|ticks| ticks + 1), ..here.clone() };
        assert!(used_again.has_ended(&here));

        let mut child = Command::new("true").spawn().unwrap();
        let child_process = Process { pid: child.id(), started: None, ..here.clone() };
        child.wait().unwrap();
        assert!(child_process.has_ended(&here));
        for (host, machine) in [("elsewhere", here.machine.clone()), (&here.host, None), (&here.host, Some("x".into()))]
        {
            let unknown = Process { host: host.into(), machine, ..child_process.clone() };
            assert!(!unknown.has_ended(&here), "{unknown:?}");
        }
    }

    #[test]
    fn an_ended_child_that_nobody_asked_about_has_ended() {
        let here = Process::current();
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let process = Process { pid: child.id(), started: None, ..here.clone() };
        assert!(!process.has_ended(&here));
        child.kill().unwrap();
        while !process.has_ended(&here) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}
