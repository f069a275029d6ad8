//! A process that is measured, with those that it has started.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two looks at something that is waited for.
pub(crate) const LOOK: Duration = Duration::from_millis(2);
/// Whoever was told to stop has so much time for it.
const STOPPING: Duration = Duration::from_secs(30);

/// It does not outlive the value.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let started = command.stdin(Stdio::null()).spawn();
        Self(started.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    /// The CPU time that all of it has used, in seconds. The kernel counts hundredths.
    pub(crate) fn cpu_s(&self) -> f64 {
        all_cpu_s(self.0.id())
    }

    /// The memory that it has now, and the most that it ever had, in MiB.
    pub(crate) fn memory_mib(&self) -> (f64, f64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default()
                / 1_024.0
        };
        (value("VmRSS:"), value("VmHWM:"))
    }

    /// Panics when it has ended by itself.
    pub(crate) fn must_run(&mut self) {
        if let Some(status) = self.0.try_wait().unwrap() {
            panic!("a server has ended: {status}");
        }
    }
}

impl Drop for Process {
    // Told, and not killed: nginx takes its workers with it only then.
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let begun = Instant::now();
        while begun.elapsed() < STOPPING && matches!(self.0.try_wait(), Ok(None)) {
            sleep(LOOK);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The CPU time of this process, which makes the load.
pub(crate) fn own_cpu_s() -> f64 {
    cpu_s(std::process::id())
}

/// The CPU time of a process and of all that descend from it.
pub(crate) fn all_cpu_s(id: u32) -> f64 {
    family(id).into_iter().map(cpu_s).sum()
}

/// A process and all that descend from it.
fn family(id: u32) -> Vec<u32> {
    let mut all = vec![id];
    let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|child| child.parse().ok()).flat_map(family));
    }
    all
}

fn cpu_s(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}
