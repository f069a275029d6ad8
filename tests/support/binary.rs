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
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_roster")), folder, arguments, environment)
    }

    /// The same from a shell that has first done something to its own limits, which the program inherits.
    pub fn start_after(
        preparation: &str,
        folder: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut shell = Command::new("/bin/sh");
        let line = format!("{preparation}; exec \"$0\" \"$@\"");
        shell.args(["-c", &line, env!("CARGO_BIN_EXE_roster")]);
        Self::spawn(shell, folder, arguments, environment)
    }

    fn spawn(mut command: Command, folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        command.args(arguments).env_clear().envs(environment.iter().copied()).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        forward(child.stdout.take().unwrap(), sender.clone());
        forward(child.stderr.take().unwrap(), sender);
        Self { child, lines, seen: Vec::new() }
    }

    /// The next line that it prints or logs with `text` in it.
    pub fn wait_for(&mut self, text: &str) -> &str {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = line.contains(text);
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

    /// Asks it to stop, as an orchestrator does.
    pub fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
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
