//! The flows, one after the other, on one site.

use std::path::Path;

use roster::sim::backend_api::Fault;
use serde_json::json;

use super::marks::{GONE, Heap, LIVING, UNUSED};
use super::town::{OPS_TOKEN, Service, Town, WEBHOOK_SECRET, run};
use crate::support::database::Rows;
use crate::support::delivery::{Delivery, now_s};
use crate::support::site::{ADMIN, USERS};
use crate::support::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_not_be_told_is_told_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let town = Town::new().await;
    let mut service = Service::start(folder.path(), &town);
    until("the backfill", async || {
        let ready = service.get("/readyz");
        service.ask(ready).await.status == 200
    })
    .await;

    // What is allowed to name people is kept apart: lists, and what the journal keeps of an event.
    let mut lists = Heap::default();
    deliveries(&mut service, &town).await;
    let tokens = reads(&mut service, &town, &mut lists).await;
    console(&mut service).await;
    let mut commands = Heap::default();
    let mut shown = Heap::default();
    faults(&mut service, &town).await;
    beside(folder.path(), &town, &mut commands, &mut shown);
    service.speak_http_2();
    deliveries(&mut service, &town).await;
    reads(&mut service, &town, &mut lists).await;
    assert!(lists.count(LIVING) > 5 && lists.count(GONE) > 5, "the lists are real ones");
    assert!(shown.count(LIVING) > 0, "the journal is a real one");
    let mut files = Heap::default();
    files.add_folder(folder.path());
    assert!(files.count(LIVING) > 0 && files.count(GONE) > 0, "the files are real ones");

    deletions(folder.path(), &mut service, &town, &mut commands).await;
    let metrics = service.console("GET", "/metrics");
    service.ask(metrics).await;
    let rows = Rows::of(&folder.path().join("roster.db")).await;
    let mut tables = Heap::default();
    tables.add("a table", rows.everything().await.join("\n"));
    rows.close().await;
    assert_eq!(tables.count(LIVING), 1, "the tables are real ones");
    let said = std::mem::take(&mut service.said);
    let mut log = Heap::default();
    let text = service.stop();
    assert!(text.contains(r#""level":"TRACE""#) && text.contains("msg_dead_0"), "the log is the whole one");
    log.add("the log", text);
    let mut left = Heap::default();
    left.add_folder(folder.path());

    let tokens: Vec<_> = tokens.iter().flat_map(|token| token.split('.').skip(1)).collect();
    let secret = WEBHOOK_SECRET.trim_start_matches("whsec_");
    let keys = [&tokens[..], &[secret]].concat();
    let people = [&keys[..], &[LIVING, GONE]].concat();
    for heap in [&said, &log, &commands] {
        heap.has_none_of(&people);
    }
    for heap in [&lists, &shown, &files] {
        heap.has_none_of(&keys);
    }
    for heap in [&tables, &left] {
        heap.has_none_of(&[&keys[..], &[GONE]].concat());
    }
}

/// Events of every kind: taken, repeated, of no use, not ours, forged, too large.
async fn deliveries(service: &mut Service, town: &Town) {
    for event in &town.told {
        let verdict = service.tell(&event.message_id, event.envelope.to_string()).await;
        assert!(verdict.starts_with("200"), "{verdict}");
        let forged = Delivery::signed("whsec_Zm9yZ2Vk", "msg_forged", now_s(), event.envelope.to_string());
        assert_eq!(service.deliver(&forged).await, "401 UNAUTHORIZED");
    }
    let id = "user_odd";
    let data = |field: &str, value| {
        let mut data = json!({"id": id, "created_at": 1, "updated_at": 1, "first_name": LIVING});
        data["private_metadata"] = json!({"a": UNUSED});
        data[field] = value;
        json!({"type": "user.created", "timestamp": 1_700_000_000_000_i64, "data": data}).to_string()
    };
    let half = format!(r#"{{"type":"user.created","data":{{"first_name":"{LIVING}","{UNUSED}":"#);
    for (number, body) in [
        data("last_name", json!([LIVING])),
        data("banned", json!(LIVING)),
        data("email_addresses", json!({LIVING: LIVING})),
        data("created_at", json!(LIVING)),
        data("id", json!(format!("{LIVING}\u{e9}"))),
        half,
        format!("{LIVING} {UNUSED}"),
        json!({"type": [LIVING], "data": {LIVING: LIVING}}).to_string(),
    ]
    .into_iter()
    .enumerate()
    {
        let verdict = service.tell(&format!("msg_dead_{number}"), body).await;
        assert_eq!(verdict, "422 UNPROCESSABLE_EVENT", "{number}");
    }
    for (number, kind, field) in [(0, "email.created", "body"), (1, "sms.created", "message")] {
        let body = json!({"type": kind, "data": {"id": "x_1", field: LIVING, "data": {"otp_code": UNUSED}}});
        assert_eq!(service.tell(&format!("msg_other_{number}"), body.to_string()).await, "200 ignored");
    }
    let large = format!("{{\"{LIVING}\":\"{}\"}}", UNUSED.repeat(120_000));
    assert_eq!(service.tell("msg_large", large).await, "413 PAYLOAD_TOO_LARGE");
}

/// Everything that a caller can ask, good and bad. Returns the tokens that were used.
async fn reads(service: &mut Service, town: &Town, lists: &mut Heap) -> Vec<String> {
    let token = town.token(&town.living, &town.organization);
    let stranger = town.token("user_stranger", "org_stranger");
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    for (list, status) in [
        (USERS.to_owned(), 200),
        (ADMIN.to_owned(), 200),
        (format!("{ADMIN}?activityStatus=all&include=membership"), 200),
        (format!("{USERS}?query={GONE}first"), 200),
        (format!("{ADMIN}?metadata.team={GONE}&limit=1"), 200),
        (format!("{USERS}/{}", town.gone[0]), 200),
    ] {
        for tag in ["\"none\"", "*"] {
            let request = service.get(&list).bearer_auth(&token).header("if-none-match", tag);
            let answer = crate::support::answer::Answer::of(request).await;
            assert_eq!(answer.status, if tag == "*" { 304 } else { status }, "{list}");
            lists.add(&*list, format!("{:?}", answer.headers));
            lists.add(&*list, answer.body);
        }
    }
    for (path, status) in [
        (format!("{USERS}?limit={LIVING}"), 400),
        (format!("{USERS}?cursor={LIVING}"), 400),
        (format!("{USERS}?ids={LIVING},,{UNUSED}"), 400),
        (format!("{ADMIN}?role=&metadata.{LIVING}=%FF"), 400),
        (format!("{USERS}/user_{LIVING}"), 404),
        (format!("/{LIVING}?token={token}"), 404),
        (format!("/docs/{LIVING}"), 404),
        ("/openapi.json".to_owned(), 200),
    ] {
        let request = service.get(&path).bearer_auth(&token).header("x-request-id", format!("{LIVING}@x"));
        assert_eq!(service.ask(request).await.status, status, "{path}");
    }
    for refused in [&forged, &stranger.replacen('.', "..", 1), &format!("ak_{UNUSED}"), UNUSED] {
        for request in [
            service.get(USERS).bearer_auth(refused),
            service.get(ADMIN).header("cookie", format!("__session={refused}")),
            service.get("/api/v1/changes").bearer_auth(refused),
        ] {
            assert_eq!(service.ask(request).await.status, 401, "{refused}");
        }
    }
    // An organization that is not known, here and at Clerk: it is asked for.
    let request = service.get(USERS).bearer_auth(&stranger);
    service.ask(request).await;
    // The feed, until it has told of a change.
    let mut feed = service.get("/api/v1/changes").bearer_auth(&token).send().await.unwrap();
    assert_eq!(feed.status(), 200);
    let fields = roster::sim::shapes::object(json!({"last_name": format!("{LIVING}{}", now_s())}));
    let changed = {
        let mut instance = town.instance.lock();
        // Whoever comes second changes something too.
        instance.advance(1_000);
        instance.update_user(&town.living, fields).unwrap()
    };
    assert_eq!(service.tell(&changed.message_id, changed.envelope.to_string()).await, "200 applied");
    let mut told = String::new();
    while !told.contains("event: member") {
        told.push_str(std::str::from_utf8(&feed.chunk().await.unwrap().unwrap()).unwrap());
    }
    service.said.add("the feed", told);
    vec![token, stranger, forged]
}

/// The operators' page, what it sees, and what it does.
async fn console(service: &mut Service) {
    for path in ["/", "/metrics", "/console/events", "/console/events?outcome=dead", "/nowhere"] {
        let request = service.console("GET", path);
        service.ask(request).await;
    }
    let mut stream = service.console("GET", "/console/stream").send().await.unwrap();
    let look = stream.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&look).contains("msg_dead_0"), "the look is a real one");
    service.said.add("what the console sees", look);
    for path in ["/console/token", "/console/events/msg_dead_0/retry", "/console/dead-letters/retry"] {
        for (token, status) in [(UNUSED, 401), (OPS_TOKEN, 200)] {
            let request = service.console("POST", path).bearer_auth(token);
            let answered = service.ask(request).await.status.as_u16();
            assert!(answered == status || (status, answered) == (200, 204), "{path}: {answered}");
        }
    }
    let pass = service.console("POST", "/console/passes").bearer_auth(OPS_TOKEN);
    assert_eq!(service.ask(pass.json(&json!({"kind": "incremental"}))).await.status, 202);
    until("the pass", async || {
        let metrics = service.console("GET", "/metrics");
        let text = service.ask(metrics).await.text();
        text.contains("roster_reconcile_runs_total{kind=\"incremental\",outcome=\"completed\"} 1")
    })
    .await;
    let wrong = service.console("POST", "/console/passes").bearer_auth(OPS_TOKEN);
    assert_eq!(service.ask(wrong.json(&json!({"kind": LIVING}))).await.status, 400);
}

/// Clerk's answers go wrong in every way, with people in them, while an organization is fetched.
async fn faults(service: &mut Service, town: &Town) {
    let faults = [
        Fault::CutShort,
        Fault::Unusable(0),
        Fault::Garbage,
        Fault::WrongKey,
        Fault::Status(422),
        Fault::Torn,
    ];
    for fault in faults {
        let organization = {
            let mut instance = town.instance.lock();
            let organization = instance.create_organization("Silent", None).id().to_owned();
            let none = roster::sim::shapes::Object::new();
            instance.join(&town.living, &organization, "org:admin", &none).unwrap();
            organization
        };
        let token = town.token(&town.living, &organization);
        town.server.controls().fail_next(3, &fault);
        let request = service.get(USERS).bearer_auth(&token);
        let answer = crate::support::answer::Answer::of(request).await;
        assert!([200, 503].contains(&answer.status.as_u16()), "{fault:?}: {}", answer.status);
        if answer.status == 503 {
            service.said.add(format!("the answer after {fault:?}"), answer.body);
        }
        town.server.controls().heal();
    }
}

/// The commands, beside the service.
fn beside(folder: &Path, town: &Town, said: &mut Heap, shown: &mut Heap) {
    let roster = |arguments: &[&str], expected: i32, said: &mut Heap| {
        let output = run(folder, town, arguments, said);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {errors}");
    };
    roster(&["events", "list"], 0, said);
    roster(&["events", "list", "--json"], 0, said);
    roster(&["events", "retry", "--all"], 1, said);
    for event in &town.told {
        roster(&["events", "show", &event.message_id], 0, shown);
    }
    roster(&["events", "show", "msg_dead_0", "--json"], 0, shown);
    // Its clock is an hour behind, which is told.
    roster(&["doctor"], 1, said);
    roster(&["reconcile", "--dry-run"], 0, said);
    roster(&["reconcile", "--json"], 0, said);
    roster(&["openapi"], 0, said);
    // Values that are wrong are not quoted.
    for (flag, wrong) in
        [("--database-url", "keymark:5"), ("--clerk-jwt-key", "keymark"), ("--listen", LIVING)]
    {
        roster(&["serve", flag, wrong, "--clerk-secret-key", "keymark"], 2, said);
    }
}

/// Three people go, each another way; what comes late of them leaves nothing either.
async fn deletions(folder: &Path, service: &mut Service, town: &Town, said: &mut Heap) {
    let [by_event, by_command, by_pass] = &town.gone;
    let events = {
        let mut instance = town.instance.lock();
        instance.advance(60_000);
        for id in [by_command, by_pass] {
            instance.delete_user(id).unwrap();
        }
        instance.take_events();
        instance.delete_user(by_event).unwrap();
        instance.take_events()
    };
    for event in events {
        assert_eq!(service.tell(&event.message_id, event.envelope.to_string()).await, "200 applied");
    }
    let erased = run(folder, town, &["events", "erase", by_command], said);
    assert!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
    let pass = run(folder, town, &["reconcile", "--json", "--allow-deletes"], said);
    assert!(pass.status.success(), "{}", String::from_utf8_lossy(&pass.stderr));
    let files_forget = async || {
        until("the files have forgotten", async || {
            let mut files = Heap::default();
            files.add_folder(folder);
            files.count(GONE) == 0
        })
        .await;
    };
    // Beside a service that goes on, and has nothing to do.
    files_forget().await;
    for (number, event) in town.told.iter().enumerate() {
        let verdict = service.tell(&format!("msg_late_{number}"), event.envelope.to_string()).await;
        assert!(verdict.starts_with("200"), "{verdict}");
    }
    let token = town.token(&town.living, &town.organization);
    for path in [USERS, &format!("{ADMIN}?activityStatus=all&include=membership")] {
        let answer = crate::support::answer::Answer::of(service.get(path).bearer_auth(&token)).await;
        assert!(answer.text().contains(LIVING) && !answer.text().contains(GONE), "{}", answer.text());
    }
    files_forget().await;
}
