//! Lookups while the ledger cannot be written.

use rusqlite::Connection;

use super::*;
use crate::{
    ledger::{LedgerOptions, Synchronous},
    source::Origin,
};

fn server(host: &str) -> Sourced<SendingServer> {
    let yaml = format!(
        "{{apiVersion: mailfleet.dev/v1alpha1, kind: SendingServer, metadata: {{name: relay}}, spec: {{provider: {{smtp: {{host: {host}, encryption: None}}}}}}}}"
    );
    let origin = Origin::File(std::sync::Arc::new(crate::source::FilePlace {
        file: "relay.yaml".into(),
        line: 1,
        root: ".".into(),
        closed: std::sync::Arc::default(),
    }));
    Sourced { object: Arc::new(serde_saphyr::from_str(&yaml).expect("a server")), origin, stale: None, previous_status: None }
}

#[tokio::test]
async fn a_generation_stays_what_it_was_while_the_ledger_cannot_be_written() {
    let folder = std::env::temp_dir().join(format!("mailfleet-lookup-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let options = LedgerOptions { synchronous: Synchronous::Normal, busy_timeout: std::time::Duration::from_millis(20) };
    let ledger = Ledger::open(&folder, options).expect("a ledger");
    let statuses = Statuses::new(crate::source::StatusSink::open_folder(&folder).expect("a folder"));
    let options = EngineOptions {
        state_dir: folder.clone(),
        once: false,
        dry_run: false,
        grace: std::time::Duration::from_secs(1),
        plan_namespace: None,
        egress: Egress::Everywhere,
        allow_sendmail: Arc::default(),
    };
    let mut lookup = Lookup::new(ledger, options);
    let key = Key::new("default", "relay");
    let mut generations = Vec::new();
    for (host, locked) in [("a.example.com", false), ("b.example.com", false), ("c.example.com", true), ("c.example.com", false)] {
        let snapshot = Snapshot { servers: BTreeMap::from([(key.clone(), server(host))]), ..Snapshot::default() };
        let other = Connection::open(folder.join("ledger.db")).expect("another client");
        if locked {
            other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
        }
        let world = lookup.world(&snapshot, &statuses, 1_764_000_000_000).await;
        generations.push((world.servers[&key].object.generation(), lookup.looks_again_after().is_some()));
    }
    assert_eq!(generations, [(1, false), (2, false), (2, true), (3, false)]);
    let _ = std::fs::remove_dir_all(&folder);
}
