//! A folder that changes under the reader's feet.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch::Receiver;

use super::{Files, Options};
use crate::{
    resources::{Key, Kind, secret::SecretValue, sending_server::NeededSecret},
    source::{
        Severity, Snapshot, StatusFolder,
        files::folder_tests::{Folder, write_status},
    },
};

fn server(name: &str, connections: u32) -> String {
    format!(
        "apiVersion: mailfleet.dev/v1alpha1\nkind: SendingServer\nmetadata: {{name: {name}}}\nspec: {{provider: {{outbox: {{}}}}, limits: {{connections: {connections}}}}}\n"
    )
}

fn connections(snapshot: &Snapshot) -> BTreeMap<String, u32> {
    let limit = |sourced: &crate::source::Sourced<crate::resources::SendingServer>| sourced.object.spec.limits().connections_max();
    snapshot.servers.iter().map(|(key, sourced)| (key.name.to_string(), limit(sourced))).collect()
}

fn stale(snapshot: &Snapshot, name: &str) -> Option<String> {
    snapshot.servers.get(&Key::new("default", name)).and_then(|sourced| sourced.stale.clone())
}

fn faults(snapshot: &Snapshot) -> Vec<String> {
    snapshot.faults().map(ToString::to_string).collect()
}

fn expected(pairs: &[(&str, u32)]) -> BTreeMap<String, u32> {
    pairs.iter().map(|(name, connections)| ((*name).to_owned(), *connections)).collect()
}

#[test]
fn a_broken_file_stops_nothing_else_and_keeps_the_last_good_version() {
    let folder = Folder::new();
    let mut files = Files::new(&[folder.path().to_owned()], &Options::default());
    folder.write("a.yaml", server("a", 1) + "---\n" + &server("b", 1));
    folder.write("c.yaml", server("c", 1));
    let all = expected(&[("a", 1), ("b", 1), ("c", 1)]);
    assert_eq!(connections(&files.load()), all);
    let not_utf8: &[u8] = b"a: \xff";
    for (words, broken) in [
        ("spec.limits.connections", server("a", 0).into_bytes()),
        ("not YAML", b"a: [".to_vec()),
        ("not UTF-8", not_utf8.to_vec()),
        ("metadata.name", server("A", 2).into_bytes()),
        ("defined twice", (server("a", 2) + "---\n" + &server("a", 3)).into_bytes()),
    ] {
        // `b` is there as well, unless the whole file is unreadable.
        let is_text = words != "not UTF-8" && words != "not YAML";
        let text = if is_text { [broken.as_slice(), b"---\n", server("b", 5).as_bytes()].concat() } else { broken };
        folder.write("a.yaml", text);
        let snapshot = files.load();
        let b = if is_text { 5 } else { connections(&snapshot)["b"] };
        assert_eq!(connections(&snapshot), expected(&[("a", 1), ("b", b), ("c", 1)]), "{words}");
        let stale_words = stale(&snapshot, "a").expect(words);
        assert!(stale_words.contains(words) && stale_words.contains("a.yaml"), "{words}: {stale_words}");
        assert_eq!(stale(&snapshot, "c"), None);
        assert!(!faults(&snapshot).is_empty() && snapshot.broken.is_empty(), "{words}");
    }
    folder.write("a.yaml", server("a", 7));
    let snapshot = files.load();
    assert_eq!((connections(&snapshot), stale(&snapshot, "a")), (expected(&[("a", 7), ("c", 1)]), None));
    fs::remove_file(folder.at("a.yaml")).expect("removed");
    assert_eq!(connections(&files.load()), expected(&[("c", 1)]));
    fs::rename(folder.path(), folder.path().with_extension("away")).expect("renamed");
    let snapshot = files.load();
    assert_eq!(connections(&snapshot), expected(&[("c", 1)]));
    assert!(stale(&snapshot, "c").is_some());
    fs::rename(folder.path().with_extension("away"), folder.path()).expect("renamed");
    assert_eq!(stale(&files.load(), "c"), None);
}

#[test]
fn what_never_was_good_is_named() {
    let folder = Folder::new();
    folder.write("a.yaml", server("a", 0));
    let snapshot = Files::load_once(&[folder.path().to_owned()], &Options::default());
    assert_eq!(snapshot.broken.len(), 1);
    let broken = &snapshot.broken[0];
    assert_eq!((broken.kind, broken.key.to_string().as_str()), ("SendingServer", "default/a"));
    assert!(broken.message.contains("a.yaml:4: spec.limits.connections: `0` is too small"), "{}", broken.message);
    assert_eq!(broken.document["spec"]["limits"]["connections"], 0);
}

#[test]
fn a_mount_of_kubernetes_is_read_through_its_symlinks() {
    let folder = Folder::new();
    folder.write("..2026_1/a.yaml", server("a", 1));
    folder.write(".git/b.yaml", server("b", 1));
    symlink("..2026_1", folder.at("..data")).expect("a symlink");
    symlink("..data/a.yaml", folder.at("a.yaml")).expect("a symlink");
    folder.write("sub/loop.txt", "");
    symlink("..", folder.at("sub/up")).expect("a symlink");
    let outside = Folder::new();
    outside.write("x.yaml", server("x", 1));
    let snapshot = Files::load_once(&[folder.path().to_owned()], &Options::default());
    assert_eq!((connections(&snapshot), faults(&snapshot)), (expected(&[("a", 1)]), vec![]));
    symlink(outside.at("x.yaml"), folder.at("x.yaml")).expect("a symlink");
    symlink(outside.path(), folder.at("folder")).expect("a symlink");
    symlink("nowhere.yaml", folder.at("nowhere.yaml")).expect("a symlink");
    let snapshot = Files::load_once(&[folder.path().to_owned()], &Options::default());
    assert_eq!(connections(&snapshot), expected(&[("a", 1)]));
    assert_eq!(faults(&snapshot).iter().filter(|fault| fault.contains("points outside the folder")).count(), 2);
    assert_eq!(faults(&snapshot).iter().filter(|fault| fault.contains("the symlink is broken")).count(), 1);
    let snapshot = Files::load_once(&[folder.path().to_owned(), folder.at("a.yaml")], &Options::default());
    assert_eq!(connections(&snapshot), expected(&[("a", 1)]));
}

#[test]
fn limits_on_files_hold() {
    let folder = Folder::new();
    folder.write("large.yaml", vec![b'#'; 4 * 1024 * 1024 + 1]);
    folder.write("full.yaml", vec![b'#'; 4 * 1024 * 1024]);
    let snapshot = Files::load_once(&[folder.path().to_owned(), folder.at("nowhere")], &Options::default());
    let faults = faults(&snapshot);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("large.yaml: fault: this file is larger than 4 MiB")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("nowhere: fault: this path cannot be read: it does not exist")), "{faults:?}");
}

#[test]
fn secrets_come_from_the_folder_the_documents_and_the_environment() {
    let folder = Folder::new();
    folder.write(
        "fleet/a.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\ndata: {a: ZG9j, b: ZG9j}\nstringData: {b: string}\n",
    );
    folder.write("secrets/default/login/..v1/a", "folder\n");
    symlink("..v1", folder.at("secrets/default/login/..data")).expect("a symlink");
    symlink("..data/a", folder.at("secrets/default/login/a")).expect("a symlink");
    folder.write("secrets/default/login/large", vec![b'x'; 1024 * 1024 + 1]);
    folder.write("secrets/stray", "x");
    let environment = BTreeMap::from([("MAILFLEET_SECRET__DEFAULT__LOGIN__C".to_owned(), SecretValue::new("environment"))]);
    let options = Options { secrets_dir: Some(folder.at("secrets")), environment: Arc::new(environment), ..Options::default() };
    let mut files = Files::new(&[folder.at("fleet")], &options);
    let snapshot = files.load();
    let get =
        |snapshot: &Snapshot, key| snapshot.secrets.get("default", "login", key).ok().and_then(|v| v.expose_text().map(str::to_owned));
    let values = ["a", "b", "c", "large"].map(|key| get(&snapshot, key));
    assert_eq!(values, [Some("folder".to_owned()), Some("string".to_owned()), Some("environment".to_owned()), None]);
    assert_eq!(faults(&snapshot).len(), 1, "{:?}", faults(&snapshot));
    fs::remove_dir_all(folder.at("secrets")).expect("removed");
    let snapshot = files.load();
    assert_eq!(get(&snapshot, "a"), Some("folder".to_owned()), "a folder that is away for a moment takes no secret with it");
    assert_eq!(faults(&snapshot).len(), 1);
}

#[test]
fn the_state_folder_is_no_source_and_gives_the_previous_status() {
    let folder = Folder::new();
    folder.write("a.yaml", server("a", 1));
    let state = folder.at("state");
    let options = Options { state_dir: Some(state.clone()), ..Options::default() };
    let mut files = Files::new(&[folder.path().to_owned()], &options);
    let snapshot = files.load();
    let sourced = &snapshot.servers[&Key::new("default", "a")];
    assert_eq!(sourced.previous_status, None);
    let mut object = serde_json::to_value(&*sourced.object).expect("JSON");
    object["status"] = serde_json::json!({"state": "Active"});
    let status = StatusFolder::open(&state).expect("it opens");
    assert!(write_status(&status, crate::resources::SendingServer::KIND, &Key::new("default", "a"), &object).expect("written"));
    assert_eq!(files.load(), snapshot, "status is remembered from the first sight");
    for options in [options, Options::default()] {
        let snapshot = Files::load_once(&[folder.path().to_owned()], &options);
        assert_eq!((snapshot.counts.files, faults(&snapshot)), (1, vec![]));
        let previous = snapshot.servers[&Key::new("default", "a")].previous_status.clone();
        assert_eq!(previous.map(|status| status["state"].clone()), options.state_dir.map(|_| serde_json::json!("Active")));
    }
}

#[test]
fn an_empty_folder_is_a_warning() {
    let folder = Folder::new();
    let snapshot = Files::load_once(&[folder.path().to_owned()], &Options::default());
    assert_eq!(snapshot.findings.iter().map(|finding| finding.severity).collect::<Vec<_>>(), [Severity::Warning]);
}

/// Waits until the snapshot has these servers.
fn wait_for(receiver: &mut Receiver<Arc<Snapshot>>, wanted: &[(&str, u32)]) -> Arc<Snapshot> {
    let started = Instant::now();
    loop {
        let snapshot = receiver.borrow_and_update().clone();
        if connections(&snapshot) == expected(wanted) {
            return snapshot;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "wanted {wanted:?}, and there is {:?}", connections(&snapshot));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn every_way_of_changing_a_folder_is_seen() {
    let folder = Folder::new();
    folder.write("root/a.yaml", server("a", 1));
    let (first, mut receiver) = Files::watch(&[folder.at("root")], &Options::default()).expect("it starts");
    assert_eq!(connections(&first), expected(&[("a", 1)]));

    folder.replace("root/a.yaml", &server("a", 2));
    wait_for(&mut receiver, &[("a", 2)]);
    folder.write("root/new/deep/b.yaml", server("b", 1));
    wait_for(&mut receiver, &[("a", 2), ("b", 1)]);
    folder.write("root/new/deep/b.yaml", server("b", 2));
    wait_for(&mut receiver, &[("a", 2), ("b", 2)]);

    // As git does it: away, and there again as another inode.
    fs::remove_dir_all(folder.at("root/new")).expect("removed");
    folder.write("root/new/deep/b.yaml", server("b", 3));
    wait_for(&mut receiver, &[("a", 2), ("b", 3)]);
    folder.write("root/new/deep/b.yaml", server("b", 4));
    wait_for(&mut receiver, &[("a", 2), ("b", 4)]);
    fs::remove_file(folder.at("root/new/deep/b.yaml")).expect("removed");
    wait_for(&mut receiver, &[("a", 2)]);

    // The whole folder goes and comes back.
    fs::rename(folder.at("root"), folder.at("away")).expect("renamed");
    folder.write("root/a.yaml", server("a", 5));
    wait_for(&mut receiver, &[("a", 5)]);
    folder.write("root/a.yaml", server("a", 6));
    wait_for(&mut receiver, &[("a", 6)]);

    folder.write("root/a.yaml", "a: [");
    let started = Instant::now();
    while stale(&receiver.borrow_and_update(), "a").is_none() {
        assert!(started.elapsed() < Duration::from_secs(20), "the broken file was not seen");
        std::thread::sleep(Duration::from_millis(10));
    }
    folder.write("root/a.yaml", server("a", 7));
    assert_eq!(stale(&wait_for(&mut receiver, &[("a", 7)]), "a"), None);
}

#[test]
fn swapped_symlinks_are_seen() {
    let folder = Folder::new();
    // A root that is a symlink (git-sync), and a mount of Kubernetes inside it.
    for (version, connections) in [("v1", 1), ("v2", 3)] {
        folder.write(&format!("{version}/mount/..t1/a.yaml"), server("a", connections));
        folder.write(&format!("{version}/mount/..t2/a.yaml"), server("a", connections + 1));
        symlink("..t1", folder.at(&format!("{version}/mount/..data"))).expect("a symlink");
        symlink("..data/a.yaml", folder.at(&format!("{version}/mount/a.yaml"))).expect("a symlink");
    }
    symlink("v1", folder.at("root")).expect("a symlink");
    let (_, mut receiver) = Files::watch(&[folder.at("root")], &Options::default()).expect("it starts");
    wait_for(&mut receiver, &[("a", 1)]);
    folder.link("..t2", "v1/mount/..data");
    wait_for(&mut receiver, &[("a", 2)]);
    folder.link("v2", "root");
    wait_for(&mut receiver, &[("a", 3)]);
    folder.link("..t2", "v2/mount/..data");
    wait_for(&mut receiver, &[("a", 4)]);
}

#[test]
fn files_that_contents_are_made_of_are_seen() {
    let folder = Folder::new();
    let campaign = "apiVersion: mailfleet.dev/v1alpha1\nkind: Campaign\nmetadata: {name: spring}\nspec:\n  planRef: {name: p}\n  from: {address: a@example.com}\n  subject: Hi\n  content: {htmlFrom: {path: mails/body.html}, templates: {path: parts}, attachments: [{path: mails/terms.pdf}]}\n  audience: {csv: {path: people.csv}}\n";
    folder.write("root/all.yaml", campaign);
    let files = ["mails/body.html", "mails/terms.pdf", "parts/footer.html", "parts/deep/button.html"];
    for file in files.iter().chain(&["people.csv", "mails/other.html"]) {
        folder.write(&format!("root/{file}"), "one");
    }
    let (first, mut receiver) = Files::watch(&[folder.at("root")], &Options::default()).expect("it starts");
    // By these alone one look differs from another: the audience is read while it is sent, and nobody names the other file.
    let canonical = |file: &str| folder.at(&format!("root/{file}")).canonicalize().expect("a file");
    let named: BTreeSet<_> = files.iter().map(|file| canonical(file)).collect();
    assert_eq!(first.written.keys().cloned().collect::<BTreeSet<_>>(), named);
    receiver.mark_unchanged();
    let mut seen = first;
    let mut waits = |what: &str, is_seen: &dyn Fn(&Snapshot, &Snapshot) -> bool| {
        let started = Instant::now();
        while !is_seen(&seen, &receiver.borrow_and_update()) {
            assert!(started.elapsed() < Duration::from_secs(20), "{what} was not seen");
            std::thread::sleep(Duration::from_millis(10));
        }
        seen = receiver.borrow().clone();
    };
    for file in files {
        let at = canonical(file);
        folder.write(&format!("root/{file}"), "two");
        waits(&format!("{file}, written"), &|old, new| old.written[&at] != new.written[&at]);
        folder.replace(&format!("root/{file}"), "three");
        waits(&format!("{file}, replaced"), &|old, new| old.written[&at] != new.written[&at]);
    }
    fs::remove_file(folder.at("root/parts/footer.html")).expect("removed");
    waits("a part that is gone", &|_, new| new.written.len() == files.len() - 1);
}

#[test]
fn nothing_is_sent_when_nothing_changed() {
    let folder = Folder::new();
    folder.write("root/a.yaml", server("a", 1));
    let state = folder.at("root/state");
    let status = StatusFolder::open(&state).expect("it opens");
    let options = Options { state_dir: Some(state), ..Options::default() };
    let (_, mut receiver) = Files::watch(&[folder.at("root")], &options).expect("it starts");
    receiver.mark_unchanged();
    folder.write("root/readme.md", "not ours");
    folder.write("root/.hidden.yaml", server("hidden", 1));
    folder.replace("root/a.yaml", &server("a", 1));
    let object = serde_json::json!({"kind": "Plan", "status": {}});
    assert!(write_status(&status, "Plan", &Key::new("default", "x"), &object).expect("written"));
    // Long enough for the quiet and a look; the absence of a signal cannot be waited for.
    std::thread::sleep(Duration::from_millis(1200));
    assert!(!receiver.has_changed().expect("the thread lives"));
    folder.write("root/a.yaml", server("a", 2));
    wait_for(&mut receiver, &[("a", 2)]);
}

#[test]
fn what_gitignore_patterns_fit_is_left_out() {
    let folder = Folder::new();
    for name in ["a", "b", "tsconfig", "charts/x/templates/t", "charts/y/t", "overlays/prod/p", "deep/keep/k", "deep/drop/d"] {
        folder.write(&format!("{name}.yaml"), server(name.rsplit('/').next().expect("a name"), 1));
    }
    let names = |exclude: &[&str]| {
        let options = Options { exclude: exclude.iter().map(|pattern| (*pattern).to_owned()).collect(), ..Options::default() };
        let snapshot = Files::load_once(&[folder.path().to_owned()], &options);
        let findings: Vec<_> = snapshot.findings.iter().map(ToString::to_string).collect();
        (connections(&snapshot).into_keys().collect::<Vec<_>>().join(" "), findings)
    };
    let all = names(&[]);
    // `t` is there twice, so that one of them has to be left out.
    assert!(all.0 == "a b d k p tsconfig" && all.1.len() == 1 && all.1[0].contains("or leave one out with --exclude"), "{all:?}");
    assert_eq!(names(&["charts/"]), ("a b d k p tsconfig".to_owned(), vec![]));
    assert_eq!(names(&["/charts/x", "deep/*", "!deep/keep"]), ("a b k p t tsconfig".to_owned(), vec![]));
    folder.write(".mailfleetignore", "# what others read\ncharts/\r\ntsconfig.*\n/overlays\n!overlays/prod/p.yaml\nb.yaml\n");
    folder.write("deep/.mailfleetignore", "*.yaml\n!/keep/*.yaml\n");
    assert_eq!(names(&[]), ("a k".to_owned(), vec![]));
    assert_eq!(names(&["!b.yaml"]), ("a b k".to_owned(), vec![]), "the command line comes first");
    let options = Options::default();
    let snapshot = Files::load_once(&[folder.at("tsconfig.yaml")], &options);
    assert_eq!(connections(&snapshot), expected(&[("tsconfig", 1)]), "what is named is meant");
    // Nobody knows then what is left out.
    fs::remove_file(folder.at(".mailfleetignore")).expect("removed");
    let mut files = Files::new(&[folder.path().to_owned()], &Options { exclude: vec!["charts".to_owned()], ..options });
    let good = connections(&files.load());
    assert!(good.contains_key("a"));
    fs::create_dir(folder.at(".mailfleetignore")).expect("a folder");
    let snapshot = files.load();
    assert!(faults(&snapshot).iter().any(|fault| fault.contains(".mailfleetignore cannot be read")), "{:?}", faults(&snapshot));
    assert_eq!(connections(&snapshot), good, "what was there stays");
}

/// A file that somebody writes for a while, a piece each 100 ms.
fn write_slowly(path: std::path::PathBuf, pieces: Vec<String>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        use std::io::Write as _;
        let mut file = fs::File::create(path).expect("a file");
        for piece in pieces {
            file.write_all(piece.as_bytes()).expect("written");
            std::thread::sleep(Duration::from_millis(100));
        }
    })
}

#[test]
fn a_file_that_is_being_written_is_not_used_half() {
    let folder = Folder::new();
    folder.write("a.yaml", server("a", 1));
    let options = Options { settles: true, ..Options::default() };
    let mut files = Files::new(&[folder.path().to_owned()], &options);
    let began = Instant::now();
    assert_eq!(connections(&files.load()), expected(&[("a", 1)]));
    let waited = began.elapsed();
    assert!(waited > Duration::from_millis(500) && waited < Duration::from_millis(1500), "{waited:?}");
    let began = Instant::now();
    files.load();
    assert!(began.elapsed() < Duration::from_millis(500), "what is old is not waited for: {:?}", began.elapsed());
    // Whole documents at each moment, and never whole before the end. The other file changes too, and waits with it.
    let writer = write_slowly(folder.at("b.yaml"), (0..20).map(|n| format!("---\n{}", server(&format!("b{n}"), 1))).collect());
    std::thread::sleep(Duration::from_millis(300));
    folder.write("a.yaml", server("a", 2));
    let snapshot = files.load();
    writer.join().expect("written");
    assert_eq!((connections(&snapshot).len(), connections(&snapshot)["a"]), (21, 2));
    // A body is a part of its campaign.
    let spec = "{planRef: {name: p}, from: {address: a@example.com}, subject: Hi, content: {textFrom: {path: body.txt}}, audience: {inline: [{email: b@example.com}]}}";
    folder.write("c.yaml", format!("apiVersion: mailfleet.dev/v1alpha1\nkind: Campaign\nmetadata: {{name: c}}\nspec: {spec}\n"));
    let writer = write_slowly(folder.at("body.txt"), vec!["x".to_owned(); 20]);
    std::thread::sleep(Duration::from_millis(150));
    files.load();
    assert!(writer.is_finished(), "half a body would be mailed");
    assert_eq!(fs::read_to_string(folder.at("body.txt")).expect("a file").len(), 20);
}

#[test]
fn a_file_that_is_written_all_the_time_holds_up_nobody_for_ever() {
    let folder = Folder::new();
    folder.write("a.yaml", server("a", 1));
    let mut files = Files::new(&[folder.path().to_owned()], &Options { settles: true, ..Options::default() });
    files.hold_max = Duration::from_millis(1500);
    assert_eq!(connections(&files.load()), expected(&[("a", 1)]));
    let writer = write_slowly(folder.at("a.yaml"), (2..50).map(|n| format!("---\n{}", server(&format!("a{n}"), n))).collect());
    folder.write("b.yaml", server("b", 1));
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    let snapshot = files.load();
    assert!(began.elapsed() < Duration::from_millis(3000), "{:?}", began.elapsed());
    assert_eq!(connections(&snapshot), expected(&[("a", 1), ("b", 1)]), "as it was used last, and what else there is");
    assert!(
        faults(&snapshot).iter().any(|fault| fault.contains("a.yaml: fault: this file keeps being written")),
        "{:?}",
        faults(&snapshot)
    );
    folder.write("b.yaml", server("b", 2));
    let began = Instant::now();
    assert_eq!(connections(&files.load()), expected(&[("a", 1), ("b", 2)]));
    assert!(began.elapsed() < Duration::from_millis(1500), "it is waited for again: {:?}", began.elapsed());
    assert!(!writer.is_finished(), "this shows nothing");
    writer.join().expect("written");
    std::thread::sleep(Duration::from_millis(1100));
    let snapshot = files.load();
    assert_eq!((connections(&snapshot).len(), faults(&snapshot)), (49, vec![]));
}

#[test]
fn people_in_a_json_file_are_no_objects() {
    let folder = Folder::new();
    let campaign = |name: &str, audience: &str| {
        let spec =
            format!("{{planRef: {{name: p}}, from: {{address: a@example.com}}, subject: Hi, content: {{text: Hi}}, audience: {audience}}}");
        format!("apiVersion: mailfleet.dev/v1alpha1\nkind: Campaign\nmetadata: {{name: {name}}}\nspec: {spec}\n")
    };
    folder.write("people.json", "{\"email\": \"a@example.com\"}\n{\"email\": \"b@example.com\"}\n");
    folder.write("c.yaml", campaign("c", "{inline: [{email: b@example.com}]}"));
    let load = || Files::load_once(&[folder.path().to_owned()], &Options::default());
    assert_eq!(faults(&load()).len(), 1, "nobody says that it is no JSON");
    folder.write("c.yaml", campaign("c", "{jsonLines: {path: people.json}}"));
    assert_eq!((faults(&load()), load().counts.files), (vec![], 1));
    // Nobody makes objects vanish by calling them people.
    folder.write("a.json", serde_json::to_string(&serde_json::json!({"apiVersion": "mailfleet.dev/v1alpha1", "kind": "Plan", "metadata": {"name": "p"}, "spec": {"servers": [{"name": "x"}]}})).expect("JSON"));
    folder.write("d.yaml", campaign("d", "{jsonLines: {path: a.json}}"));
    assert_eq!(load().plans.len(), 1);
}

#[test]
fn what_is_not_for_others_is_neither_body_nor_audience() {
    let folder = Folder::new();
    for name in [
        "fleet/secret.yaml",
        "fleet/secret.json",
        "fleet/.git/config",
        "fleet/.env",
        "fleet/state/status/x.txt",
        "fleet/keys/default/login/password",
        "fleet/people.json",
        "fleet/body.txt",
    ] {
        folder.write(name, "password");
    }
    folder.write("fleet/state/.mailfleet-state", "");
    symlink("secret.yaml", folder.at("fleet/innocent.txt")).expect("a symlink");
    symlink(".git/config", folder.at("fleet/harmless.txt")).expect("a symlink");
    folder.write("fleet/..2026/mounted.txt", "text");
    symlink("..2026/mounted.txt", folder.at("fleet/mounted.txt")).expect("a symlink");
    folder.write("git/.worktrees/one/c.yaml", "");
    folder.write("git/.worktrees/one/body.txt", "");
    symlink(".worktrees/one", folder.at("git/current")).expect("a symlink");
    let place = |file: &str, root: &str| crate::source::FilePlace {
        file: folder.at(file),
        line: 1,
        root: folder.at(root),
        closed: Arc::from([folder.at("fleet/keys").canonicalize().expect("it is there")]),
    };
    let judged = |path: &str, purpose| {
        crate::source::files::resolve_beside(&place("fleet/c.yaml", "fleet"), path, purpose).map_err(|problem| problem.to_string())
    };
    use crate::source::Purpose::{Body, Csv, JsonLines};
    for purpose in [Body, Csv, JsonLines] {
        for path in [
            "secret.yaml",
            "innocent.txt",
            "harmless.txt",
            ".git/config",
            ".env",
            ".nothing",
            "state/status/x.txt",
            "keys/default/login/password",
        ] {
            let told = judged(path, purpose).expect_err(path);
            assert!(told.contains("mailed") && !told.contains("password,"), "{path}: {told}");
        }
        for path in ["body.txt", "mounted.txt"] {
            assert!(judged(path, purpose).is_ok(), "{path}");
        }
    }
    assert!(judged("secret.json", Body).is_err() && judged("people.json", Csv).is_err() && judged("people.json", JsonLines).is_ok());
    // Where the documents lie behind a symlink, as git-sync has it, their neighbours do too.
    assert!(crate::source::files::resolve_beside(&place("git/current/c.yaml", "git"), "body.txt", Body).is_ok());
    assert!(crate::source::files::resolve_beside(&place("git/c.yaml", "git"), "current/body.txt", Body).is_err());
}

#[test]
fn every_secret_that_a_server_needs_is_looked_for() {
    let folder = Folder::new();
    folder.write(
        "relay.yaml",
        "apiVersion: mailfleet.dev/v1alpha1
kind: SendingServer
metadata: {name: relay}
spec:
  provider:
    smtp: {host: smtp.example.com, auth: {secretRef: {name: login}}, caRef: {name: ca, key: ca.crt}}
  identity: {dkim: [{domain: example.com, selector: s1, privateKeyRef: {name: signing, key: tls.key}}]}
",
    );
    let snapshot = Files::load_once(&[folder.path().to_owned()], &Options::default());
    let server = &snapshot.servers.values().next().unwrap_or_else(|| panic!("{:?}", snapshot.findings)).object;
    let is_read = |needed: &NeededSecret| !needed.optional;
    let mut needed: Vec<String> = server.spec.secrets().into_iter().filter(is_read).map(|needed| needed.path).collect();
    let mut warned: Vec<String> =
        snapshot.findings.iter().filter_map(|finding| finding.field.clone()).filter(|field| field.ends_with("Ref")).collect();
    needed.sort();
    warned.sort();
    assert_eq!((warned, needed.len()), (needed, 3));
}
