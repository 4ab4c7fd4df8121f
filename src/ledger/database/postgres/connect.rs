//! Connections to a PostgreSQL database: where it is, encrypted or not, to the one host of several that takes writes.

use std::{fmt, io, sync::LazyLock, time::Duration};

use rustix::net::sockopt;
use tokio::{net::TcpStream, runtime::Runtime};
use tokio_postgres::{Client, Config, NoTls, config::SslMode};

use super::place::{DatabasePlace, Encryption};
use crate::{
    audience::sql::{Stream, request_tls},
    egress::Egress,
    ledger::error::{LedgerError, LedgerErrorKind},
    providers::{
        connect::{Peer, own_tls},
        diagnose::Endpoint,
        scrub::Scrubber,
    },
};

/// How long each step of a login may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a statement may take, which the database keeps.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a transaction may wait for its next statement, which the database keeps: a process that stopped in one holds nothing up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// After how long a line on which nothing arrives is asked whether the other side is there, and after how long without an answer it is lost.
const ASK_AFTER: Duration = Duration::from_secs(4);
const LOST_AFTER: Duration = Duration::from_secs(10);

/// Whoever writes finds rows by their keys. Plans are made when tables are nearly empty, and kept: without this, each commit would read
/// what has become a table of millions. Nor is any of its statements worth compiling, which costs too much of those that run often.
const BY_KEY: &str = " -c jit=off -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off";

/// The thread that moves bytes between all connections of this process and their databases.
static WIRES: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("ledger-wires").enable_all().build());

/// Opens a connection to the host that takes writes, also for reading: what another one has may be old, and somebody who is not in it
/// would be mailed again.
pub(super) async fn open(place: &DatabasePlace, writes: bool) -> Result<Client, LedgerError> {
    let mut failure = None;
    for (host, port) in &place.hosts {
        match open_at(place, host, *port, writes).await {
            Ok(client) => return Ok(client),
            // A host that refuses the login says more than one that is away.
            Err(error) if failure.as_ref().is_none_or(|known: &LedgerError| known.kind == LedgerErrorKind::Unreachable) => {
                failure = Some(error);
            }
            Err(_) => {}
        }
    }
    Err(failure.unwrap_or_else(|| LedgerError::new(LedgerErrorKind::Unreachable, format!("{place} names no host"))))
}

async fn open_at(place: &DatabasePlace, host: &str, port: u16, writes: bool) -> Result<Client, LedgerError> {
    let unreachable = |what: &str| LedgerError::new(LedgerErrorKind::Unreachable, format!("the ledger at {place}: {what}"));
    let (endpoint, scrubber) = (Endpoint::new(host, port), Scrubber::default());
    let tls = match &place.encryption {
        Encryption::Authorities(path) => {
            let pem = std::fs::read(path).map_err(|error| LedgerError::from_io(path, &error))?;
            Some(own_tls(&pem).map_err(|why| {
                LedgerError::new(LedgerErrorKind::NotPermitted, format!("the file {} of sslrootcert {why}", path.display()))
            })?)
        }
        Encryption::None | Encryption::System => None,
    };
    let peer = Peer {
        host,
        port,
        endpoint: &endpoint,
        tls_name: host,
        own_tls: tls.as_ref(),
        scrubber: &scrubber,
        step_timeout: STEP_TIMEOUT,
        egress: Egress::Everywhere,
    };
    let mut tcp = peer.connect().await.map_err(|blocker| unreachable(&blocker.message))?;
    // A commit is several small messages; none of them waits for another.
    tcp.set_nodelay(true).and_then(|()| notice_loss(&tcp)).map_err(|error| unreachable(&error.to_string()))?;
    let stream: Stream = if place.encryption == Encryption::None {
        Box::new(tcp)
    } else {
        match tokio::time::timeout(STEP_TIMEOUT, request_tls(&mut tcp)).await {
            Ok(Ok(b'S')) => Box::new(peer.encrypt(tcp).await.map_err(|blocker| unreachable(&blocker.message))?),
            Ok(Ok(b'N')) => {
                let what = "the database offers no TLS; enable TLS there, or write `sslmode=disable` in the URL if nobody else can listen";
                return Err(LedgerError::new(LedgerErrorKind::NotPermitted, format!("the ledger at {place}: {what}")));
            }
            Ok(Ok(_)) => return Err(unreachable("the server there is not PostgreSQL; check host and port")),
            Ok(Err(error)) => return Err(unreachable(&format!("the connection was lost: {error}"))),
            Err(_) => return Err(unreachable("the database did not answer the request for TLS")),
        }
    };
    let settings = format!(
        "-c search_path={} -c statement_timeout={} -c idle_in_transaction_session_timeout={}{}",
        place.schema,
        STATEMENT_TIMEOUT.as_millis(),
        IDLE_TIMEOUT.as_millis(),
        if writes { BY_KEY } else { "" }
    );
    let mut config = Config::new();
    config
        .user(&place.user)
        .password(place.password.expose())
        .dbname(&place.database)
        .application_name("mailfleet")
        .ssl_mode(SslMode::Disable);
    config.options(place.options.as_ref().map_or(settings.clone(), |options| format!("{options} {settings}")));
    let (client, connection) = match tokio::time::timeout(STEP_TIMEOUT, config.connect_raw(stream, NoTls)).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => return Err(LedgerError::from_postgres(place, &error)),
        Err(_) => return Err(unreachable("the database did not answer the login")),
    };
    // It ends with the client, or when the line is lost, which the next statement tells.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the ledger's database ended");
        }
    });
    let asked = tokio::time::timeout(STEP_TIMEOUT, client.query_one("SELECT pg_is_in_recovery()", &[])).await;
    let row = asked.map_err(|_| unreachable("the database did not answer"))?.map_err(|error| LedgerError::from_postgres(place, &error))?;
    if row.get::<_, bool>(0) {
        return Err(unreachable(&format!("{host} is a standby, which takes no writes; name its primary too (postgres://…@a,b/…)")));
    }
    Ok(client)
}

/// Has the operating system tell when nobody is there any more: a machine that is gone, or a network that is cut, says nothing.
fn notice_loss(tcp: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, ASK_AFTER)?;
    sockopt::set_tcp_keepintvl(tcp, Duration::from_secs(2))?;
    sockopt::set_tcp_keepcnt(tcp, 3)?;
    sockopt::set_tcp_user_timeout(tcp, u32::try_from(LOST_AFTER.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

/// A time that is over.
#[derive(Debug)]
pub(in crate::ledger) struct TooLate;

impl fmt::Display for TooLate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the database did not answer in time")
    }
}

/// Waits for what a database answers. The caller may be a thread of a runtime: it is held up, as by a disk.
pub(super) fn wait<T>(limit: Duration, answer: impl Future<Output = T>) -> Result<T, TooLate> {
    let Ok(wires) = &*WIRES else { return Err(TooLate) };
    let _inside = wires.enter();
    // Where the caller is a task, its share of the thread's time may be used up, and nothing would wake it.
    futures::executor::block_on(tokio::task::unconstrained(tokio::time::timeout(limit, answer))).map_err(|_| TooLate)
}
