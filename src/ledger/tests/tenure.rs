//! What holds of a ledger in PostgreSQL alone: one process sends, and a line that is lost leaves nothing open.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::Mutex,
    thread,
};

use super::{
    database::{Ended, IS_OPEN, Session},
    failures::{AFTER, BEFORE, started, states},
    *,
};

/// Where a proxy cuts the line next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// It is handed on, and its answer is lost with the line.
    AfterCommit,
    /// It is lost with the line.
    BeforeCommit,
    /// The question whether a transaction was applied is handed on, and its answer is lost with the line.
    AfterQuestion,
}

/// Stands between a ledger and its database.
struct Proxy {
    port: u16,
    cuts: Arc<Mutex<Vec<Cut>>>,
}

impl Proxy {
    fn to(place: &DatabasePlace) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (port, cuts) = (listener.local_addr().expect("an address").port(), Arc::new(Mutex::new(Vec::new())));
        let (shared, (host, database)) = (Arc::clone(&cuts), place.hosts[0].clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect((host.as_str(), database)).expect("the database");
                let (mut back, mut front) = (server.try_clone().expect("a clone"), client.try_clone().expect("a clone"));
                thread::spawn(move || {
                    let _ = std::io::copy(&mut back, &mut front);
                    let _ = front.shutdown(Shutdown::Both);
                });
                let cuts = Arc::clone(&shared);
                thread::spawn(move || hand_on(client, server, &cuts));
            }
        });
        Self { port, cuts }
    }
}

fn hand_on(mut client: TcpStream, mut server: TcpStream, cuts: &Mutex<Vec<Cut>>) {
    let mut buffer = vec![0; 65_536];
    let mut is_asked = false;
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let bytes = &buffer[..length];
        let has = |mark: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
        let (ends, asks) = (has(b"COMMIT"), is_asked);
        // The statement is compiled first, and executed by the message that follows.
        is_asked = has(b"line = line + 1");
        let is_next = |cut: &Cut| match cut {
            Cut::AfterCommit | Cut::BeforeCommit => ends,
            Cut::AfterQuestion => asks,
        };
        let mut waiting = cuts.lock().expect("no panic");
        let cut = if waiting.first().is_some_and(is_next) { Some(waiting.remove(0)) } else { None };
        drop(waiting);
        if cut.is_some() {
            let _ = client.shutdown(Shutdown::Both);
        }
        if cut != Some(Cut::BeforeCommit) {
            server.write_all(bytes).expect("written");
        }
        if cut.is_some() {
            // The database does what it was told before it notices that nobody listens.
            thread::sleep(Duration::from_millis(100));
            break;
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
    let cuts = [
        &[Cut::AfterCommit][..],
        &[Cut::BeforeCommit],
        &[Cut::AfterCommit, Cut::AfterQuestion, Cut::AfterQuestion],
        &[Cut::BeforeCommit, Cut::AfterQuestion, Cut::AfterQuestion],
        // A beat takes the number of the commit that was not applied, and is applied itself.
        &[Cut::BeforeCommit, Cut::AfterCommit],
        &[Cut::AfterCommit, Cut::BeforeCommit],
    ];
    for cut in cuts {
        let folder = Folder::new();
        let proxy = Proxy::to(place(&folder));
        let mut behind = place(&folder).clone();
        behind.hosts = vec![("127.0.0.1".into(), proxy.port)];
        let ledger = Ledger::open(LedgerPlace::in_database(behind, &folder.0), LedgerOptions::default()).expect("it opens");
        let (run, commit) = started(&ledger).await;
        *proxy.cuts.lock().expect("no panic") = cut.to_vec();
        assert_eq!(kind(ledger.commit(Arc::clone(&commit)).await), Some(LedgerErrorKind::Undecided), "{cut:?}");
        let before: &[&str] = if cut[0] == Cut::AfterCommit { &AFTER } else { &BEFORE };
        assert_eq!(states(&folder), before, "{cut:?}: the database knows");
        // Whatever is written before it is repeated finds out, and does not take the answer away.
        for cut in &cut[1..] {
            assert!(ledger.call(|writer| writer.book.beat()).await.is_err(), "{cut:?}");
            assert!(ledger.due(run, 1_000_000, 1).await.is_err(), "nothing is handed out meanwhile");
        }
        assert_eq!(*proxy.cuts.lock().expect("no panic"), [], "each of them was made");
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

#[tokio::test]
#[ignore = "needs a database in MAILFLEET_TEST_POSTGRES"]
async fn what_is_sent_with_a_beginning_that_fails_changes_nothing() {
    let folder = Folder::new();
    drop(folder.open());
    let session = Session::open(&Arc::new(place(&folder).clone()), true).expect("a connection");
    let mark = format!("UPDATE senders SET line = line + 1 WHERE {IS_OPEN} RETURNING line");
    let marked = |session: &Session| session.query_open(&mark, &[]).map(|rows| rows.len());
    assert_eq!(marked(&session).expect("asked"), 0, "no transaction was begun");
    session.begin("UPDATE senders SET commits = commits + 1");
    assert_eq!(marked(&session).expect("asked"), 1);
    session.post("UPDATE senders SET where_at = 'posted'", &[]).expect("posted");
    assert!(matches!(session.commit(), Ended::Applied));
    assert_eq!(folder.ask("SELECT line, where_at FROM senders"), ["1 posted"]);
    assert_eq!(marked(&session).expect("asked"), 0, "it has ended");
    // A beginning that is not understood.
    session.begin("UPDATE nothing SET commits = commits + 1");
    assert!(marked(&session).is_err());
    session.roll_back();
    // One that changes no row.
    session.begin("UPDATE senders SET commits = commits + 1 WHERE id = 77");
    assert!(marked(&session).is_err() && session.is_refused());
    session.roll_back();
    // A statement that was posted and is refused: nothing of the transaction happened, and that is known.
    session.begin("UPDATE senders SET where_at = 'third'");
    session.post("INSERT INTO senders (id) VALUES (1)", &[]).expect("posted");
    assert!(matches!(session.commit(), Ended::RolledBack(_)));
    session.roll_back();
    assert_eq!(folder.ask("SELECT line, where_at FROM senders"), ["1 posted"]);
}
