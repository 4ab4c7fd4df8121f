//! What holds of a ledger in PostgreSQL alone: one process sends, and a line that is lost leaves nothing open.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::Mutex,
    thread,
};

use super::{
    failures::{AFTER, BEFORE, started, states},
    *,
};

/// What a proxy does with the end of the next transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// It is handed on, and its answer is lost with the line.
    AfterCommit,
    /// It is lost with the line.
    BeforeCommit,
}

/// Stands between a ledger and its database.
struct Proxy {
    port: u16,
    cut: Arc<Mutex<Option<Cut>>>,
}

impl Proxy {
    fn to(place: &DatabasePlace) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (port, cut) = (listener.local_addr().expect("an address").port(), Arc::new(Mutex::new(None)));
        let (shared, (host, database)) = (Arc::clone(&cut), place.hosts[0].clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect((host.as_str(), database)).expect("the database");
                let (mut back, mut front) = (server.try_clone().expect("a clone"), client.try_clone().expect("a clone"));
                thread::spawn(move || {
                    let _ = std::io::copy(&mut back, &mut front);
                    let _ = front.shutdown(Shutdown::Both);
                });
                let cut = Arc::clone(&shared);
                thread::spawn(move || hand_on(client, server, &cut));
            }
        });
        Self { port, cut }
    }
}

fn hand_on(mut client: TcpStream, mut server: TcpStream, cut: &Mutex<Option<Cut>>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let bytes = &buffer[..length];
        let ends = bytes.windows(6).any(|window| window == b"COMMIT");
        let what = if ends { cut.lock().expect("no panic").take() } else { None };
        match what {
            Some(Cut::AfterCommit) => {
                let _ = client.shutdown(Shutdown::Both);
                server.write_all(bytes).expect("written");
                // The database ends the transaction before it notices that nobody listens.
                thread::sleep(Duration::from_millis(100));
                let _ = server.shutdown(Shutdown::Both);
                return;
            }
            Some(Cut::BeforeCommit) => {
                let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
                return;
            }
            None => server.write_all(bytes).expect("written"),
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn place(folder: &Folder) -> &DatabasePlace {
    folder.1.as_ref().expect("MAILFLEET_TEST_POSTGRES names a database")
}

#[tokio::test]
#[ignore = "needs a database in MAILFLEET_TEST_POSTGRES"]
async fn a_line_that_is_lost_while_a_commit_ends_leaves_nothing_open() {
    for cut in [Cut::AfterCommit, Cut::BeforeCommit] {
        let folder = Folder::new();
        let proxy = Proxy::to(place(&folder));
        let mut behind = place(&folder).clone();
        behind.hosts = vec![("127.0.0.1".into(), proxy.port)];
        let ledger = Ledger::open(LedgerPlace::in_database(behind, &folder.0), LedgerOptions::default()).expect("it opens");
        let (run, commit) = started(&ledger).await;
        *proxy.cut.lock().expect("no panic") = Some(cut);
        assert_eq!(kind(ledger.commit(Arc::clone(&commit)).await), Some(LedgerErrorKind::Undecided), "{cut:?}");
        let before: &[&str] = if cut == Cut::AfterCommit { &AFTER } else { &BEFORE };
        assert_eq!(states(&folder), before, "{cut:?}: the database knows");
        // Whatever is written before it is repeated finds out, and does not take the answer away.
        ledger.call(|writer| writer.book.beat()).await.expect("the line is there again");
        let receipt = ledger.commit(Arc::clone(&commit)).await.expect("the line is there again");
        assert_eq!((states(&folder), receipt.seqs.len()), (AFTER.map(str::to_owned).to_vec(), 1), "{cut:?}: once");
        let counts = ledger.counts(run).await.expect("counts");
        assert_eq!((counts.fates[Fate::Accepted], counts.fates[Fate::Claimed]), (1, 1), "{cut:?}: counted once");
        // What follows goes on from there.
        ledger.commit(outcomes(vec![outcome(run, receipt.seqs[0].expect("claimed"), Disposition::Accepted)])).await.expect("the next one");
    }
}

#[tokio::test]
#[ignore = "needs a database in MAILFLEET_TEST_POSTGRES"]
async fn a_process_that_was_thought_dead_writes_no_more() {
    let folder = Folder::new();
    let ledger = folder.open();
    let (_, commit) = started(&ledger).await;
    // As if it had stopped for longer than its lease, on another machine.
    folder.ask("UPDATE senders SET lease_until_ms = 0, origin = 'elsewhere'");
    let other = folder.open();
    assert_eq!(kind(ledger.commit(commit).await), Some(LedgerErrorKind::Superseded));
    assert_eq!(states(&folder), BEFORE, "nothing of it was written");
    assert_eq!(kind(ledger.days().await), Some(LedgerErrorKind::Superseded), "nothing is decided by what it reads");
    let record = begin(&other, WhenOutcomeIsUnknown::Skip).await;
    assert_eq!(record.left_without_outcome, 1);
}

#[tokio::test]
#[ignore = "needs a database in MAILFLEET_TEST_POSTGRES"]
async fn a_second_process_is_refused_while_the_first_lives() {
    let folder = Folder::new();
    let ledger = folder.open();
    let error = tokio::task::spawn_blocking({
        let location = folder.location();
        move || Ledger::open(location, LedgerOptions::default()).map(drop).expect_err("it is in use")
    })
    .await
    .expect("no panic");
    assert_eq!(error.kind, LedgerErrorKind::InUse);
    assert!(error.message.contains(&format!("process {}", std::process::id())), "{error}");
    drop(ledger);
    drop(folder.open());
}
