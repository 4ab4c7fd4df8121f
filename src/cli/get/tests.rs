use std::sync::Arc;

use clap::Parser as _;

use super::*;
use crate::{
    audience::Fields,
    cli::{Cli, Command},
    ledger::{BadRow, Claim, Commit, Disposition, Ledger, LedgerOptions, OutcomeRecord, RunStart},
    test_support::campaign_status,
};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A ledger of two runs of one campaign: in the second ann was accepted, and ben is claimed.
async fn state(name: &str) -> Folder {
    let folder = Folder(std::env::temp_dir().join(format!("mailfleet-get-{name}-{}", std::process::id())));
    let ledger = Ledger::open(&folder.0, LedgerOptions::default()).expect("the ledger opens");
    let server = ledger.server_id("shop/relay").await.expect("a server");
    for name in ["first", "second"] {
        let key = RunKey::new("shop", "spring", name);
        let run = ledger.begin_run(&key, RunStart::default(), 1_000).await.expect("a run").id;
        let claim = |recipient: &str| {
            let (recipient, usage_keys) = (recipient.into(), Arc::from([]));
            Claim { run_id: run, seq: None, recipient, attempt: 1, server, topic: None, usage_keys }
        };
        let claims = vec![claim("ann@one.example"), claim("ben@one.example")];
        let seqs = ledger.commit(Commit { claims, now_ms: 2_000, ..Commit::default() }).await.expect("claims").seqs;
        let accepted = OutcomeRecord {
            run_id: run,
            seq: seqs[0],
            recipient: "".into(),
            disposition: Disposition::Accepted,
            server: None,
            reply: Some("250 Ok".to_owned()),
            suppresses: false,
        };
        ledger.commit(Commit { outcomes: vec![accepted], now_ms: 3_000, ..Commit::default() }).await.expect("an outcome");
        ledger.record_bad_rows(run, vec![BadRow { line: 7, what: "there is no `@` in it".to_owned() }]).await.expect("kept");
    }
    folder
}

fn ask(state: &Folder, words: &str) -> Result<String, String> {
    let mut all = vec!["mailfleet", "get"];
    all.extend(words.split(' '));
    let folder = state.0.to_str().expect("a path in UTF-8");
    all.extend(["--state", folder]);
    let Command::Get(args) = Cli::try_parse_from(all).map_err(|error| error.to_string())?.command else { unreachable!("it is `get`") };
    let mut out = Vec::new();
    match find(&args).and_then(|found| show(&args, found, &mut out)) {
        Ok(()) => Ok(String::from_utf8(out).expect("text")),
        Err(Stop::Failed(message)) => Err(message),
        Err(Stop::Closed) => Err("closed".to_owned()),
    }
}

fn json_of(state: &Folder, words: &str) -> Value {
    serde_json::from_str(&ask(state, words).expect(words)).expect("one document")
}

#[tokio::test]
async fn scripts_ask_for_everything_in_the_ledger() {
    let state = state("scripts").await;
    let runs = json_of(&state, "runs -o json");
    assert_eq!(runs.as_array().map(Vec::len), Some(2));
    assert_eq!(runs[1]["run"], "second");
    assert_eq!((&runs[1]["accepted"], &runs[1]["sending"], &runs[1]["rejected"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(json_of(&state, "runs spring -n shop -o json"), runs);
    // Without a status the latest run is meant.
    let recipients = json_of(&state, "campaigns spring -n shop --recipients -o json");
    let ann = json!({
        "email": "ann@one.example", "state": "Accepted", "attempts": 1, "server": "shop/relay",
        "time": "1970-01-01T00:00:03Z", "resent": 0, "reply": "250 Ok",
    });
    assert_eq!((&recipients[0], &recipients[1]["state"]), (&ann, &json!("Claimed")));
    let claimed = json_of(&state, "campaigns spring -n shop --recipients --only Claimed --run first -o json");
    assert_eq!(claimed.as_array().map(Vec::len), Some(1));
    let rows = json_of(&state, "campaigns spring -n shop --problems -o json");
    assert_eq!(rows, json!([{"line": 7, "problem": "there is no `@` in it"}]));
}

#[tokio::test]
async fn recipients_are_an_audience() {
    let state = state("audience").await;
    let lines = ask(&state, "campaigns spring -n shop --recipients -o json-lines").expect("recipients");
    let addresses: Vec<String> = lines.lines().map(|line| Fields::from_json(line).expect(line).address().to_string()).collect();
    assert_eq!(addresses, ["ann@one.example", "ben@one.example"]);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let state = state("absent").await;
    for (words, message) in [
        ("runs other -n shop", "no runs of campaign other"),
        ("campaigns spring -n shop --recipients --run third", "no shop/spring run third; `mailfleet get runs` lists them"),
        ("campaigns spring -n shop", "no Campaign spring"),
        ("servers a --recipients", "apply to campaigns only"),
        ("campaigns spring --recipients --only Sent", "use one of Claimed, Accepted"),
    ] {
        let message_shown = ask(&state, words).expect_err(words);
        assert!(message_shown.contains(message), "{words}: {message_shown}");
    }
}

#[test]
fn a_name_in_another_namespace_is_said_to_be_there() {
    let folder = Folder(std::env::temp_dir().join(format!("mailfleet-get-elsewhere-{}", std::process::id())));
    let kind = folder.0.join("status/shop/Campaign");
    std::fs::create_dir_all(&kind).expect("a folder");
    std::fs::write(kind.join("winter.yaml"), "{}").expect("a file");
    let refused = ask(&folder, "campaigns winter").expect_err("not in default");
    assert_eq!(refused, "no Campaign winter in namespace default; there is one in namespace shop: add `-n shop`");
    let refused = ask(&folder, "campaigns summer").expect_err("nowhere");
    assert!(refused.starts_with("no Campaign summer in ") && refused.contains("--state"), "{refused}");
}

#[tokio::test]
async fn recipients_are_counted_in_the_ledger() {
    let state = state("killed").await;
    let kind = state.0.join("status/shop/Campaign");
    std::fs::create_dir_all(&kind).expect("a folder");
    // As it was written before anybody was accepted, by a process that was killed then.
    let mut status = campaign_status("Sending", "second", json!({}));
    status["sent"] = json!("0/?");
    let status = json!({"metadata": {"name": "spring", "namespace": "shop"}, "status": status});
    std::fs::write(kind.join("spring.yaml"), status.to_string()).expect("a file");
    let shown = ask(&state, "campaigns spring -n shop").expect("a campaign");
    assert!(shown.contains(" 1/? ") && shown.contains("1 accepted once"), "{shown}");
    std::fs::remove_file(state.0.join("ledger.db")).expect("the ledger");
    let shown = ask(&state, "campaigns spring -n shop").expect("a campaign");
    assert!(shown.contains(" 0/? ") && shown.contains("0 accepted once"), "{shown}");
}
