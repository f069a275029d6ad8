//! The real program, as an operator runs it: started, watched, stopped and killed.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing that is waited for takes so long unless it never comes.
const PATIENCE: Duration = Duration::from_mins(1);

/// A program that runs. It is killed with the value.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Program {
    /// Starts it in a folder, with nothing of our environment but what is given.
    pub fn start(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_under(&[], folder, arguments, environment)
    }

    /// The same from a shell that has first done something to its own limits, which the program inherits.
    pub fn start_after(
        preparation: &str,
        folder: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let line = format!("{preparation}; exec \"$0\" \"$@\"");
        Self::start_under(&["/bin/sh", "-c", &line], folder, arguments, environment)
    }

    /// The same by a program that becomes it, such as `prlimit`.
    pub fn start_under(
        starter: &[&str],
        folder: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let words = [starter, &[env!("CARGO_BIN_EXE_roster")], arguments].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_clear().envs(environment.iter().copied()).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        forward(child.stdout.take().unwrap(), sender.clone());
        forward(child.stderr.take().unwrap(), sender);
        Self { child, lines, seen: Vec::new() }
    }

    /// The next line that it prints or logs with `text` in it.
    pub fn wait_for(&mut self, text: &str) -> &str {
        self.wait_for_either(text, text)
    }

    /// The next one with either.
    pub fn wait_for_either(&mut self, text: &str, other: &str) -> &str {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = line.contains(text) || line.contains(other);
                    self.seen.push(line);
                    if found {
                        return self.seen.last().unwrap();
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no line with `{text}` in time: {:#?}", self.seen),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("it ended without a line with `{text}`: {:#?}", self.seen)
                }
            }
        }
    }

    /// Where it listens, from its log, which must be JSON.
    pub fn wait_until_it_listens(&mut self) -> String {
        let line: Value = serde_json::from_str(self.wait_for(r#""message":"listening""#)).unwrap();
        format!("http://{}", line["address"].as_str().unwrap())
    }

    /// What it has printed and logged until the last line that was waited for.
    pub fn seen(&self) -> &[String] {
        &self.seen
    }

    /// How much memory it takes, in KiB.
    pub fn resident_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// `kill -9`. Nothing of it runs any more when this returns.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, as an orchestrator does.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    fn signal(&self, name: &str) {
        let (name, id) = (format!("-{name}"), self.id().to_string());
        assert!(Command::new("kill").args([&name, &id]).status().unwrap().success());
    }

    /// Does something while nothing of it runs.
    pub fn frozen<T>(&self, what: impl FnOnce() -> T) -> T {
        self.signal("STOP");
        let threads = format!("/proc/{}/task", self.id());
        let is_still = |thread: std::io::Result<std::fs::DirEntry>| {
            let state = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
            state.rsplit(") ").next().unwrap().starts_with(['T', 't'])
        };
        while !std::fs::read_dir(&threads).unwrap().all(is_still) {
            thread::yield_now();
        }
        let done = what();
        self.signal("CONT");
        done
    }

    /// Waits until it has ended by itself.
    pub fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // Both pipes are closed when it ends.
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push(line);
        }
        assert!(Instant::now() < deadline, "it does not end: {:#?}", self.seen);
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(pipe: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
}
