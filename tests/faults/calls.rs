use std::fs;
use std::path::Path;

use super::victim::{Service, Victim};

/// Which calls fail, by their numbers: all of them, or fewer the later they come.
fn numbers() -> impl Iterator<Item = u32> {
    let all = std::env::var("ROSTER_FAULTS").is_ok_and(|which| which == "all");
    std::iter::successors(Some(1), move |number| Some(number + if all { 1 } else { 1 + number / 3 }))
}

/// Starts it so that the call with this number fails, in each thread that makes so many: SQLite works in one
/// thread for each connection.
fn starter(folder: &Path, call: &str, error: &str, number: u32) -> Vec<String> {
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let mut words = ["strace", "-D", "-f", "-qq", "-o", &file("trace")].map(str::to_owned).to_vec();
    for name in ["roster.db", "roster.db-wal"] {
        words.extend(["-P".to_owned(), file(name)]);
    }
    words.extend(["-e".to_owned(), format!("inject={call}:error={error}:when={number}")]);
    words
}

/// Lets the first call fail, the second, and so on, until the program does not make so many.
async fn each_call_fails(call: &str, error: &str, refusal: &str) {
    assert!(
        std::process::Command::new("strace").arg("-V").output().is_ok(),
        "strace is needed: apt-get install strace, or run .ci/run"
    );
    let (mut refused, mut failed) = (0, 0);
    for number in numbers() {
        let mut victim = Victim::with_a_past().await;
        let starter = starter(victim.folder(), call, error, number);
        let starter: Vec<_> = starter.iter().map(String::as_str).collect();
        let mut program = victim.attempt(&starter);
        let line = program.wait_for_either(r#""message":"listening""#, "error: ").to_owned();
        if line.contains("error: ") {
            assert!(line.contains(refusal), "{call} {number}: {line}");
            assert_eq!(program.wait().code(), Some(1), "{call} {number}");
            refused += 1;
            let service = victim.serve();
            victim.survives_the_end_of(service).await;
            continue;
        }
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let service = Service { url: format!("http://{}", line["address"].as_str().unwrap()), program };
        for _ in 0..3 {
            victim.somebody_joins(&service).await;
        }
        let injected = fs::read_to_string(victim.folder().join("trace")).unwrap().contains("(INJECTED)");
        victim.survives_the_end_of(service).await;
        if !injected {
            assert!(
                refused + failed > 4,
                "{call}: {refused} starts were refused, {failed} runs went through it"
            );
            return;
        }
        failed += 1;
    }
}

#[tokio::test]
async fn whichever_write_fails_nothing_acknowledged_is_lost() {
    each_call_fails("pwrite64", "EIO", "its disk is full, or does not read or write").await;
}

#[tokio::test]
async fn whichever_flush_fails_nothing_acknowledged_is_lost() {
    each_call_fails("fsync", "EIO", "its disk is full, or does not read or write").await;
}
