//! The machine that it ran on, since figures without it say nothing.

use std::fs;
use std::process::Command;

/// One line, its parts separated by semicolons.
pub(crate) fn describe() -> String {
    let cpu = field("/proc/cpuinfo", "model name");
    let memory = field("/proc/meminfo", "MemTotal");
    let kib: f64 = memory.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let at = roster::domain::time::iso8601(roster::clock::now_ms());
    format!(
        "{} on {cores} cores of {cpu}, {:.0} GiB, Linux {}; {}, {}, Node {}; the load is made on the same cores",
        at.split('T').next().unwrap_or_default(),
        kib / 1_048_576.0,
        kernel.trim(),
        said("rustc", "--version"),
        said("/usr/sbin/nginx", "-v").replace("nginx version: ", ""),
        said("node", "--version"),
    )
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim_start_matches([' ', '\t', ':']).to_owned()
}

/// nginx says it on standard error.
fn said(program: &str, argument: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).output() else { return format!("no {program}") };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}
