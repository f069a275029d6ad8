//! `roster reconcile`, as people run it.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::killed::Binary;
use super::{Clerk, number};
use crate::support::until;

impl Binary<'_> {
    /// Runs the command beside whatever runs on the database.
    async fn reconcile(&self, arguments: &[&str], other: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roster"));
        command.arg("reconcile").args(arguments).env_clear().current_dir(self.folder.path());
        command.envs(self.environment()).env_remove("ROSTER_LOG").stdin(Stdio::null());
        for (name, value) in other {
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, value)
            };
        }
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn report(&self, arguments: &[&str]) -> Value {
        let output = self.reconcile(&[&["--json"], arguments].concat(), &[]).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// How an entity differed: `seen missing stale gone repaired refused`.
fn drift(report: &Value, entity: &str) -> [u64; 6] {
    ["seen", "missing", "stale", "gone", "repaired", "refused"]
        .map(|count| report["entities"][entity][count].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_the_object_and_what_they_count() {
    let clerk = Clerk::with(2, 3).await;
    let binary = Binary::of(&clerk);
    let dry = binary.report(&["--dry-run"]).await;
    assert_eq!((&dry["outcome"], &dry["dryRun"]), (&json!("completed"), &json!(true)));
    assert_eq!(drift(&dry, "users"), [6, 6, 0, 0, 0, 0]);
    let rows = binary.rows().await;
    assert_eq!(rows.everything().await, Vec::<String>::new(), "a dry run changes nothing");

    let output = binary.reconcile(&[], &[]).await;
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    insta::assert_snapshot!(text(&output.stdout), @r"
    ───────────────────────────────────────────────────────────────────────────
     full pass, completed   seen   missing   stale   gone   repaired   refused 
    ═══════════════════════════════════════════════════════════════════════════
     users                     6         6       0      0          6         0 
    ───────────────────────────────────────────────────────────────────────────
     organizations             2         2       0      0          2         0 
    ───────────────────────────────────────────────────────────────────────────
     memberships               6         6       0      0          6         0 
    ───────────────────────────────────────────────────────────────────────────
     invitations               0         0       0      0          0         0 
    ───────────────────────────────────────────────────────────────────────────
    ");

    let output = binary.reconcile(&["--json"], &[]).await;
    let printed = text(&output.stdout);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let report: Value = serde_json::from_str(&printed).unwrap();
    let zero = r#""missing":0,"stale":0,"gone":0,"repaired":0,"refused":0"#;
    let expected = format!(
        "{{\"kind\":\"full\",\"outcome\":\"completed\",\"dryRun\":false,\"startedAt\":{},\"finishedAt\":{},\
         \"entities\":{{\"users\":{{\"seen\":6,{zero}}},\"organizations\":{{\"seen\":2,{zero}}},\
         \"memberships\":{{\"seen\":6,{zero}}},\"invitations\":{{\"seen\":0,{zero}}}}}}}\n",
        report["startedAt"], report["finishedAt"]
    );
    assert_eq!(printed, expected);
    for moment in ["startedAt", "finishedAt"] {
        let moment = report[moment].as_str().unwrap();
        assert_eq!((moment.len(), moment.ends_with('Z')), (24, true), "{moment}");
    }

    let admin = clerk.members(&clerk.organizations()[0]).remove(0);
    clerk.with_instance(|instance| instance.change_email(&admin, "other@example.com").unwrap());
    clerk.organization("New", 1);
    let report = binary.report(&["--incremental"]).await;
    assert_eq!(report["kind"], "incremental");
    let [_, missing, stale, gone, repaired, _] = drift(&report, "users");
    assert_eq!([missing, stale, gone, repaired], [1, 1, 0, 2]);
    assert_eq!(drift(&report, "memberships")[1..], [1, 0, 0, 1, 0]);
    let again = binary.report(&[]).await;
    assert_eq!(drift(&again, "users"), [7, 0, 0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brake_holds_until_it_is_lifted() {
    let clerk = Clerk::with(2, 20).await;
    let binary = Binary::of(&clerk);
    binary.report(&[]).await;
    clerk.later();
    let organization = clerk.organizations()[0].clone();
    for user in clerk.members(&organization).into_iter().skip(1).take(11) {
        clerk.with_instance(|instance| instance.delete_user(&user).unwrap());
    }
    let rows = binary.rows().await;
    let standing = "SELECT COUNT(*) FROM users WHERE deleted_at_ms IS NULL";
    for arguments in [&["--dry-run"][..], &[]] {
        let output = binary.reconcile(arguments, &[]).await;
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains("\nerror: more is gone at Clerk than a pass may remove"), "{said}");
        assert!(said.contains("`roster reconcile --allow-deletes`"), "{said}");
        assert!(text(&output.stdout).contains("braked"), "{}", text(&output.stdout));
        assert_eq!(number(&rows, standing).await, 40);
    }
    let output = binary.reconcile(&["--json"], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["outcome"], "braked");
    assert_eq!(drift(&report, "users"), [29, 0, 0, 11, 0, 11]);
    assert_eq!(drift(&report, "memberships"), [29, 0, 0, 11, 0, 11]);

    let report = binary.report(&["--allow-deletes"]).await;
    assert_eq!(drift(&report, "users"), [29, 0, 0, 11, 11, 0]);
    assert_eq!(drift(&report, "memberships"), [29, 0, 0, 11, 11, 0]);
    assert_eq!(number(&rows, standing).await, 29);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_cannot_do_it_says_with_the_mend() {
    let clerk = Clerk::with(1, 2).await;
    let binary = Binary::of(&clerk);
    let output = binary.reconcile(&[], &[("CLERK_SECRET_KEY", "sk_test_another")]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("set CLERK_SECRET_KEY to a key from the API keys page"), "{said}");
    assert!(!said.contains("sk_test_another"), "{said}");
    assert_eq!(said.matches("refuses the secret key").count(), 1, "the cause is said once: {said}");
    assert!(text(&output.stdout).contains("full pass, failed"), "{}", text(&output.stdout));

    let output = binary.reconcile(&[], &[("CLERK_SECRET_KEY", "")]).await;
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
    let said = text(&output.stderr);
    assert!(said.contains("CLERK_SECRET_KEY is not set"), "{said}");
    assert!(said.contains("CLERK_SECRET_KEY=sk_live_"), "an example: {said}");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = binary.reconcile(&[], &[("CLERK_API_URL", &format!("http://{nobody}"))]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("Clerk's API is not answering") && said.contains("CLERK_API_URL"), "{said}");

    let report = binary.report(&[]).await;
    assert_eq!(report["outcome"], "completed", "the one that failed does not stand in the way");
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_service_its_change_is_visible_at_once() {
    let clerk = Clerk::with(2, 3).await;
    let binary = Binary::of(&clerk);
    let mut program = binary.serve();
    let service = program.wait_until_it_listens();
    until("the site is ready", async || binary.status(&service, "/readyz").await == 200).await;
    clerk.later();
    let organization = clerk.organizations()[0].clone();
    let gone = clerk.members(&organization).remove(1);
    clerk.with_instance(|instance| {
        instance.delete_user(&gone).unwrap();
        let user = instance.create_user(roster::sim::NewUser::named("New", "Comer", "new@example.com"));
        instance.join(user.id(), &organization, "org:member", &roster::sim::shapes::Object::new()).unwrap();
    });
    let before = binary.members(&service, &organization).await;
    assert!(before.contains(&gone));
    let report = binary.report(&[]).await;
    assert_eq!(drift(&report, "users"), [6, 1, 0, 1, 2, 0]);
    binary.tells_the_truth(&service).await;
    program.terminate();
    assert_eq!(program.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_pass_beside_one_that_runs_is_declined() {
    let clerk = Clerk::with(1, 3).await;
    let binary = Binary::of(&clerk);
    clerk.controls().hold_when(|asked| asked.path == "/v1/users");
    let mut program = binary.serve();
    program.wait_until_it_listens();
    until("the backfill is under way", async || {
        clerk.controls().take_log().iter().any(|asked| asked.path == "/v1/users")
    })
    .await;
    let output = binary.reconcile(&[], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("another process runs a pass"), "{}", text(&output.stderr));
    clerk.controls().release();
    program.kill();
}
