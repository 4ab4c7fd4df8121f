//! PostgreSQL, by tokio-postgres over a connection of ours.
//!
//! The query runs in a read-only transaction, with a time limit that the database keeps, and the database makes a JSON object of each
//! row: no type is unknown here, and each column is the field that the spec calls it.

use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use futures::{StreamExt as _, pin_mut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};
use tokio_postgres::{
    Client, Config, NoTls,
    config::SslMode,
    error::SqlState,
    types::{Format, IsNull, ToSql, Type, to_sql_checked},
};

use super::{
    super::{Blocker, ROW_MAX, columns::Columns},
    Sink,
    client::{Asking, Stream},
    take_columns,
};

/// Asks whether the server encrypts (`SSLRequest` of PostgreSQL's protocol).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The longest message of the server, bytes: a row, and what is around it.
const MESSAGE_MAX: usize = 2 * ROW_MAX;

/// Runs the query, and passes its rows on.
pub(super) async fn run(asking: &Asking<'_>, sink: &mut Sink) -> Result<(), Blocker> {
    let stream = Bounded::new(open(asking).await?);
    let url = asking.url;
    let mut config = Config::new();
    config.user(&url.user).password(url.password.expose()).dbname(&url.database).application_name("mailfleet").ssl_mode(SslMode::Disable);
    if let Some(options) = &url.options {
        config.options(options);
    }
    let (client, connection) = match asking.step("the login", config.connect_raw(stream, NoTls)).await? {
        Ok(connected) => connected,
        Err(error) => return Err(blocker(asking, &error)),
    };
    pin_mut!(connection);
    // The connection does what the client asks, as long as both are polled.
    tokio::select! {
        biased;
        result = fetch(&client, asking, sink) => result,
        ended = &mut connection => Err(match ended {
            Err(error) => blocker(asking, &error),
            Ok(()) => asking.passing("the database closed the connection"),
        }),
    }
}

/// Asks a PostgreSQL server for TLS: `S` where it agrees, and `N` where it has none.
pub(crate) async fn request_tls(tcp: &mut TcpStream) -> io::Result<u8> {
    tcp.write_all(&SSL_REQUEST).await?;
    tcp.read_u8().await
}

/// Opens a connection, with TLS where the URL asks for it.
async fn open(asking: &Asking<'_>) -> Result<Stream, Blocker> {
    let mut tcp = asking.connect().await?;
    if !asking.url.encrypted {
        return Ok(Box::new(tcp));
    }
    match asking.step("the request for TLS", request_tls(&mut tcp)).await? {
        Ok(b'S') => Ok(Box::new(asking.encrypt(tcp).await?)),
        Ok(b'N') => {
            Err(asking
                .lasting("the database offers no TLS; enable TLS there, or write `sslmode=disable` in the URL if nobody else can listen"))
        }
        Ok(_) => Err(asking.lasting("the server there is not PostgreSQL; check the host and port of the URL")),
        Err(error) => Err(asking.passing(&format!("the connection was lost: {error}"))),
    }
}

async fn fetch(client: &Client, asking: &Asking<'_>, sink: &mut Sink) -> Result<(), Blocker> {
    let failed = |error| blocker(asking, &error);
    let begin = format!("BEGIN TRANSACTION READ ONLY; SET LOCAL statement_timeout = {}", asking.query.timeout.as_millis());
    client.batch_execute(&begin).await.map_err(failed)?;
    // Parsed, and not run: it says what the columns are, and what is wrong with the query in its own words.
    let text = asking.query.text.trim_end().trim_end_matches(';');
    let parsed = client.prepare(text).await.map_err(failed)?;
    let given = parsed.params().len();
    if given != asking.query.parameters.len() {
        return Err(asking.parameters(given));
    }
    let columns = take_columns(sink, parsed.columns().iter().map(|column| column.name().into()).collect())?;
    let statement = client.prepare(&as_objects(text, &columns)).await.map_err(|error| match error.code().map(SqlState::code) {
        Some("42601") => asking.lasting("the query is not a SELECT; only a query that reads can be an audience"),
        _ => blocker(asking, &error),
    })?;
    let parameters: Vec<Text<'_>> = asking.query.parameters.iter().map(|text| Text(text)).collect();
    let rows = client.query_raw(&statement, parameters.iter().map(|text| text as &(dyn ToSql + Sync))).await.map_err(failed)?;
    pin_mut!(rows);
    while let Some(row) = rows.next().await {
        let row = row.map_err(failed)?;
        sink.row(row.try_get(0).map_err(failed)?)?;
    }
    // What was only read needs no end; the connection closes.
    Ok(())
}

/// The query, with each row as a JSON object of the fields.
fn as_objects(query: &str, columns: &Columns) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let all: Vec<String> = (0..columns.names.len()).map(|index| format!("c{index}")).collect();
    let fields = columns.names.iter().enumerate().filter(|(_, name)| !name.is_empty());
    let fields: Vec<String> = fields.map(|(index, name)| format!("q.c{index} AS {}", quoted(name))).collect();
    // A line of its own after the query, which may end with a comment.
    format!("SELECT row_to_json(r)::text FROM (SELECT {} FROM (\n{query}\n) AS q({})) AS r", fields.join(", "), all.join(", "))
}

/// A parameter as people write it; the database reads it as the type that it expects.
#[derive(Debug)]
struct Text<'a>(&'a str);

impl ToSql for Text<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// What an error means, and what happens next.
fn blocker(asking: &Asking<'_>, error: &tokio_postgres::Error) -> Blocker {
    let Some(database) = error.as_db_error() else {
        let mut cause: &dyn Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        return match cause.downcast_ref::<io::Error>() {
            Some(error) if error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<TooLong>) => asking.lasting(&cause.to_string()),
            _ => asking.passing(&format!("the connection to the database was lost: {cause}")),
        };
    };
    let said = database.message();
    match database.code().code() {
        "57014" => asking.too_slow(),
        "25006" => asking.writes(said),
        "28000" | "28P01" | "3D000" => asking.refused(said),
        // The database is full, goes down, cannot serialise, or failed by itself.
        code if ["08", "40", "53", "57", "58", "XX"].iter().any(|class| code.starts_with(class)) => asking.passing_words(said),
        _ => asking.lasting_words(said),
    }
}

/// A stream whose messages have a bound: the client would hold one of any length.
struct Bounded {
    stream: Stream,
    /// The beginning of the next message: its type, and its length without that.
    head: [u8; 5],
    got: usize,
    /// Bytes that are left of the message.
    left: usize,
}

impl Bounded {
    const fn new(stream: Stream) -> Self {
        Self { stream, head: [0; 5], got: 0, left: 0 }
    }

    /// Follows the messages in what was read.
    fn follow(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let part = self.left.min(bytes.len());
                self.left -= part;
                bytes = &bytes[part..];
                continue;
            }
            (self.head[self.got], bytes) = (bytes[0], &bytes[1..]);
            self.got += 1;
            if self.got == self.head.len() {
                let [_, length @ ..] = self.head;
                let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                if length > MESSAGE_MAX {
                    return Err(io::Error::other(TooLong));
                }
                (self.left, self.got) = (length.saturating_sub(4), 0);
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a row of the query is longer than {ROW_MAX} bytes, or the server there is not PostgreSQL; select fewer columns")
    }
}

impl Error for TooLong {}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let followed = self.follow(&buffer.filled()[before..]);
        if followed.is_err() {
            // With an error nothing was read.
            buffer.set_filled(before);
        }
        Poll::Ready(followed)
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audience::columns::Renamed;

    #[test]
    fn each_row_is_an_object_of_the_fields() {
        let renamed = Renamed::from([("email".to_owned(), "E-mail".to_owned())]);
        let columns = Columns::of(vec!["E-mail".into(), "".into(), "a\"b".into()], &renamed).expect("columns");
        assert_eq!(
            as_objects("SELECT 1 -- all", &columns),
            "SELECT row_to_json(r)::text FROM (SELECT q.c0 AS \"email\", q.c2 AS \"a\"\"b\" FROM (\nSELECT 1 -- all\n) AS q(c0, c1, c2)) AS r"
        );
    }

    #[tokio::test]
    async fn messages_of_a_server_have_a_bound() {
        let message = |length: usize| [&b"D"[..], &u32::try_from(length).expect("short").to_be_bytes()].concat();
        let short = [message(4 + 3), b"abc".to_vec(), message(4)].concat();
        let longest = [message(MESSAGE_MAX), vec![0; MESSAGE_MAX - 4]].concat();
        // The longest one in large pieces alone, since it takes long in small ones.
        for (at_a_time, longest) in [(1, &[][..]), (2, &[]), (7, &[]), (64, &[]), (4096, &longest)] {
            let (mut server, client) = tokio::io::duplex(at_a_time);
            let mut bounded = Bounded::new(Box::new(client));
            let sent = [&short, longest, &message(MESSAGE_MAX + 1)].concat();
            let writer = tokio::spawn(async move {
                let _ = server.write_all(&sent).await;
            });
            let mut read = Vec::new();
            let error = bounded.read_to_end(&mut read).await.expect_err("too long");
            assert!(error.to_string().contains("longer than 1048576 bytes"), "{error}");
            writer.abort();
        }
    }
}
