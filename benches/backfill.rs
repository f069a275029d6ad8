//! How fast a first start has everybody: `cargo bench --bench backfill`.
//!
//! The real program fetches 200,000 users and 300,000 memberships from a Clerk of this bench's own, in a process of
//! its own, while one caller asks for a list again and again. Printed are records a second, from the program's
//! first line to its readiness; the most memory that it ever had; and how long the caller waited at most.
//! Wall time on a busy machine says little, so the CPU time of both processes is printed too. All this twice: with a
//! Clerk that answers at once, and with one that takes as long as the real one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark may panic and print"
)]

#[path = "backfill/clerk.rs"]
mod clerk;
#[path = "town/template.rs"]
mod template;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use roster::clock;
use roster::sim::Instance;
use roster::sim::backend_api::SECRET_KEY;
use roster::sim::keys::SigningKey;
use serde_json::{Value, json};

/// How long the real Clerk takes for a page.
const LATENCY: Duration = Duration::from_millis(100);

/// From one question of the caller to the next: forty a second, which is much for a person and little for the program.
const EVERY: Duration = Duration::from_millis(25);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match std::env::args().skip_while(|argument| argument != "clerk").nth(1) {
        Some(latency_ms) => {
            runtime.block_on(clerk::serve(Duration::from_millis(latency_ms.parse().unwrap())));
        }
        None => [Duration::ZERO, LATENCY].into_iter().for_each(|latency| runtime.block_on(measure(latency))),
    }
}

/// A child that does not outlive the bench.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Starts it, and waits for a line of its output with `text` in it.
    fn start(command: &mut Command, text: &str) -> (Self, String) {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains(text)).expect("it ended without a word");
        // A pipe that nobody empties would hold it up, and what it warns of may be why it is slow.
        std::thread::spawn(move || {
            lines.filter(|line| line.contains(r#""level":"WARN""#)).for_each(|line| println!("{line}"));
        });
        (Self(child), line)
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap_or_default()
    }

    /// The most memory that it ever had, in MiB.
    fn peak_mib(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
    }

    /// The CPU time that it has used, in seconds.
    fn cpu_s(&self) -> f64 {
        let stat = self.proc("stat");
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u32>().ok()).unwrap_or_default();
        f64::from(ticks(11) + ticks(12)) / 100.0
    }
}

#[expect(clippy::cast_precision_loss, reason = "half a million is no number")]
async fn measure(latency: Duration) {
    println!("Clerk takes {} ms for each answer", latency.as_millis());
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let (clerk, url) = Process::start(command.args(["clerk", &latency.as_millis().to_string()]), "http://");
    let instance = Instance::new(SigningKey::generate("ins_bench").unwrap(), 1, clock::now_ms());
    let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
    command.arg("serve").env_clear().current_dir(folder.path()).envs([
        ("ROSTER_LISTEN", "127.0.0.1:0"),
        ("ROSTER_OPS_LISTEN", "127.0.0.1:0"),
        ("CLERK_JWT_KEY", &instance.key().public_pem().unwrap()),
        ("CLERK_SECRET_KEY", SECRET_KEY),
        ("CLERK_API_URL", &url),
        ("ROSTER_CLERK_RATE", "10000"),
        ("ROSTER_LOG", "info"),
        ("ROSTER_LOG_FORMAT", "json"),
    ]);
    let started = Instant::now();
    let mut with_log = Command::new("sh");
    // The log is on standard error.
    with_log.args(["-c", "exec \"$0\" serve 2>&1"]).arg(env!("CARGO_BIN_EXE_roster")).env_clear();
    with_log.current_dir(folder.path());
    for (name, value) in command.get_envs() {
        with_log.env(name, value.unwrap_or_default());
    }
    let (program, line) = Process::start(&mut with_log, r#""message":"listening""#);
    let line: Value = serde_json::from_str(&line).unwrap();
    let service = format!("http://{}", line["address"].as_str().unwrap());

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let issued = clock::now_ms() / 1000;
    let claims = json!({
        "v": 2, "sub": "user_caller", "sid": "sess_1", "iss": instance.issuer(), "iat": issued,
        "nbf": issued - 10, "exp": issued + 3_600, "o": { "id": clerk::organization_id(7), "rol": "member" },
    });
    let token = instance.key().sign(&instance.token_header(), &claims).unwrap();
    let (mut asked, mut answered, mut longest, mut all) = (0_u32, 0_u32, Duration::ZERO, Duration::ZERO);
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let ready = client.get(format!("{service}/readyz")).send().await.unwrap().status() == 200;
        if ready {
            break;
        }
        let begun = Instant::now();
        let list = client.get(format!("{service}/api/v1/entities/users")).bearer_auth(&token);
        let list = list.send().await.unwrap();
        let is_list = list.status() == 200;
        assert!(is_list || answered == 0, "the list stopped being answered");
        let members: Vec<Value> = if is_list { list.json().await.unwrap() } else { Vec::new() };
        assert_eq!(members.len(), if is_list { clerk::MEMBERS_EACH } else { 0 });
        longest = longest.max(begun.elapsed());
        all += begun.elapsed();
        asked += 1;
        answered += u32::from(is_list);
    }
    let took = started.elapsed();
    let records = clerk::USERS + clerk::MEMBERSHIPS;
    println!(
        "{records} records (and {} organizations) in {:.1} s: {:.0} records/s; CPU {:.1} s, Clerk's {:.1} s",
        clerk::ORGANIZATIONS,
        took.as_secs_f64(),
        records as f64 / took.as_secs_f64(),
        program.cpu_s(),
        clerk.cpu_s()
    );
    println!("memory at most {} MiB", program.peak_mib());
    println!(
        "a list was asked for {asked} times and answered {answered} times; at most {:.1} ms, on average {:.1} ms",
        longest.as_secs_f64() * 1e3,
        all.as_secs_f64() * 1e3 / f64::from(asked.max(1))
    );
}
