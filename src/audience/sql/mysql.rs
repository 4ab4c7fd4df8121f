//! MySQL and MariaDB, by a client of our own.
//!
//! It speaks as much of the protocol as one query takes: the login, a prepared statement, its rows as they come. What a server can ask
//! of other clients, a local file above all, is not there.

mod auth;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod packet;
mod row;

use std::io;

use serde_json::{Map, Value};

use self::{
    auth::Method,
    packet::{Cursor, Packets, Refusal, is_end, malformed, with_length},
    row::{Column, values},
};
use super::{
    super::Blocker,
    Sink,
    client::{Asking, Stream},
    no_rows, take_columns,
};

/// What this client can do: long passwords and flags, a database in the login, the protocol of version 4.1, transactions, and methods of
/// authentication by name.
const CAPABILITIES: u32 = 0x1 | 0x4 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x8_0000;
/// TLS.
const TLS: u32 = 0x800;
/// Of texts on the connection: utf8mb4.
const CHARSET: u8 = 45;
/// What the server may expect of us, bytes.
const PACKET_MAX: u32 = 1 << 24;
/// The most columns and parameters: those that the protocol counts.
const COLUMNS_MAX: u64 = 4096;

const QUERY: u8 = 0x03;
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;
/// The type of a parameter: a text, which the database reads as the type that it expects.
const VAR_STRING: [u8; 2] = [253, 0];

/// What went wrong in the conversation.
enum QueryError {
    Lost(io::Error),
    Refused(Refusal),
    Other(Blocker),
}

impl From<io::Error> for QueryError {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl From<Blocker> for QueryError {
    fn from(blocker: Blocker) -> Self {
        Self::Other(blocker)
    }
}

/// Runs the query, and passes its rows on.
pub(super) async fn run(asking: &Asking<'_>, sink: &mut Sink) -> Result<(), Blocker> {
    let told = |error| blocker(asking, error);
    let (packets, is_mariadb) = asking.step("the login", log_in(asking)).await?.map_err(told)?;
    fetch(packets, is_mariadb, asking, sink).await.map_err(told)
}

/// What a server says first.
struct Greeting {
    is_mariadb: bool,
    offers_tls: bool,
    challenge: Vec<u8>,
    method: Vec<u8>,
}

impl Greeting {
    fn of(packet: &[u8]) -> io::Result<Self> {
        let mut cursor = Cursor(packet);
        if cursor.byte()? != 10 {
            return Err(malformed());
        }
        let version = cursor.until_zero();
        let is_mariadb = version.windows(7).any(|part| part.eq_ignore_ascii_case(b"mariadb"));
        cursor.take(4)?;
        let mut challenge = cursor.array::<8>()?.to_vec();
        cursor.take(1)?;
        let low = u16::from_le_bytes(cursor.array()?);
        // Charset, status, and the capabilities of later versions.
        cursor.take(1 + 2)?;
        let capabilities = u32::from(low) | u32::from(u16::from_le_bytes(cursor.array()?)) << 16;
        cursor.take(1 + 10)?;
        challenge.extend_from_slice(cursor.until_zero());
        let method = cursor.until_zero().to_vec();
        Ok(Self { is_mariadb, offers_tls: capabilities & TLS != 0, challenge, method })
    }
}

async fn log_in(asking: &Asking<'_>) -> Result<(Packets<Stream>, bool), QueryError> {
    let mut plain = Packets::new(asking.connect().await?, 0);
    let packet = plain.read().await?;
    if let Some(refusal) = Refusal::of(packet) {
        return Err(QueryError::Refused(refusal));
    }
    let greeting = Greeting::of(packet)?;
    let url = asking.url;
    let head = |capabilities: u32| [&capabilities.to_le_bytes()[..], &PACKET_MAX.to_le_bytes(), &[CHARSET], &[0; 23]].concat();
    let (mut packets, capabilities): (Packets<Stream>, u32) = if url.encrypted {
        if !greeting.offers_tls {
            let what = "the database offers no TLS; enable TLS there, or write `ssl-mode=DISABLED` in the URL if nobody else can listen";
            return Err(asking.lasting(what).into());
        }
        plain.write(&head(CAPABILITIES | TLS)).await?;
        (Packets::new(Box::new(asking.encrypt(plain.stream).await?), plain.next), CAPABILITIES | TLS)
    } else {
        (Packets::new(Box::new(plain.stream), plain.next), CAPABILITIES)
    };
    let mut method = Method::named(&greeting.method).unwrap_or(Method::Native);
    let answer = method.answer(url.password.expose(), &greeting.challenge);
    let login = [
        &head(capabilities)[..],
        url.user.as_bytes(),
        &[0],
        &[u8::try_from(answer.len()).unwrap_or(0)],
        &answer,
        url.database.as_bytes(),
        &[0],
        method.name().as_bytes(),
        &[0],
    ]
    .concat();
    packets.write(&login).await?;
    loop {
        let packet = packets.read().await?.to_vec();
        match packet.split_first() {
            Some((0, _)) => return Ok((packets, greeting.is_mariadb)),
            // The account has another method.
            Some((0xfe, rest)) => {
                let mut cursor = Cursor(rest);
                let name = cursor.until_zero();
                let Some(named) = Method::named(name) else {
                    let name = String::from_utf8_lossy(name).into_owned();
                    return Err(asking.lasting(&format!("the account uses the authentication plugin `{name}`, which is not supported; use `mysql_native_password` or `caching_sha2_password`")).into());
                };
                method = named;
                packets.write(&method.answer(url.password.expose(), cursor.until_zero())).await?;
            }
            // The server has no hash of the password in its memory, or has compared it with the one that is there.
            Some((1, [3])) if method == Method::CachingSha2 => {}
            Some((1, [4])) if method == Method::CachingSha2 && url.encrypted => {
                packets.write(&[url.password.expose(), &[0]].concat()).await?;
            }
            Some((1, [4])) => {
                return Err(asking.lasting("the database asks for the password itself, which is sent over TLS only; require TLS in the URL (`ssl-mode=REQUIRED`)").into());
            }
            _ => return Err(Refusal::of(&packet).map_or_else(|| malformed().into(), QueryError::Refused)),
        }
    }
}

/// Runs a statement that gives nothing.
async fn set(packets: &mut Packets<Stream>, statement: &str) -> Result<(), QueryError> {
    packets.command(QUERY, statement.as_bytes()).await?;
    let packet = packets.read().await?;
    match packet.first() {
        Some(0) => Ok(()),
        _ => Err(Refusal::of(packet).map_or_else(|| malformed().into(), QueryError::Refused)),
    }
}

async fn fetch(mut packets: Packets<Stream>, is_mariadb: bool, asking: &Asking<'_>, sink: &mut Sink) -> Result<(), QueryError> {
    let query = asking.query;
    // Of every statement of the session, whatever it is: it may not write, and it has its time.
    set(&mut packets, "SET SESSION TRANSACTION READ ONLY").await?;
    set(
        &mut packets,
        &if is_mariadb {
            format!("SET SESSION max_statement_time = {}", query.timeout.as_secs_f64())
        } else {
            format!("SET SESSION max_execution_time = {}", query.timeout.as_millis())
        },
    )
    .await?;
    set(&mut packets, "START TRANSACTION READ ONLY").await?;
    packets.command(PREPARE, query.text.trim_end().trim_end_matches(';').as_bytes()).await?;
    let packet = packets.read().await?;
    if let Some(refusal) = Refusal::of(packet) {
        return Err(QueryError::Refused(refusal));
    }
    let mut cursor = Cursor(packet);
    cursor.take(1)?;
    let statement: [u8; 4] = cursor.array()?;
    let (columns, parameters) = (u16::from_le_bytes(cursor.array()?), u16::from_le_bytes(cursor.array()?));
    if usize::from(parameters) != query.parameters.len() {
        return Err(asking.parameters(usize::from(parameters)).into());
    }
    definitions(&mut packets, u64::from(parameters)).await?;
    definitions(&mut packets, u64::from(columns)).await?;
    if columns == 0 {
        // What gives no rows is not run.
        return Err(no_rows(sink).into());
    }
    packets.command(EXECUTE, &execution(statement, &query.parameters)).await?;
    let packet = packets.read().await?;
    if let Some(refusal) = Refusal::of(packet) {
        return Err(QueryError::Refused(refusal));
    }
    let count = Cursor(packet).number()?;
    // Not those of the preparation, which servers in front of a database leave empty.
    let (names, columns): (_, Vec<Column>) = definitions(&mut packets, count).await?.into_iter().unzip();
    let fields = take_columns(sink, names)?;
    loop {
        let packet = packets.read().await?;
        if is_end(packet) {
            // What was only read needs no end; the connection closes.
            return Ok(());
        }
        if let Some(refusal) = Refusal::of(packet) {
            return Err(QueryError::Refused(refusal));
        }
        let named = fields.names.iter().zip(values(packet, &columns)?).filter(|(name, _)| !name.is_empty());
        let object: Map<String, Value> = named.map(|(name, value)| (name.to_string(), value)).collect();
        sink.row(&Value::Object(object).to_string())?;
    }
}

/// The definitions of columns or parameters, and what ends them.
async fn definitions(packets: &mut Packets<Stream>, count: u64) -> Result<Vec<(Box<str>, Column)>, QueryError> {
    if count > COLUMNS_MAX {
        return Err(malformed().into());
    }
    let mut found = Vec::new();
    for _ in 0..count {
        found.push(Column::of(packets.read().await?)?);
    }
    if count > 0 && !is_end(packets.read().await?) {
        return Err(malformed().into());
    }
    Ok(found)
}

/// The argument of the command that runs a prepared statement once.
fn execution(statement: [u8; 4], parameters: &[String]) -> Vec<u8> {
    let mut argument = [&statement[..], &[0, 1, 0, 0, 0]].concat();
    if !parameters.is_empty() {
        // None is null, and each says its type.
        argument.extend(std::iter::repeat_n(0, parameters.len().div_ceil(8)));
        argument.push(1);
        argument.extend(parameters.iter().flat_map(|_| VAR_STRING));
        argument.extend(parameters.iter().flat_map(|text| with_length(text.as_bytes())));
    }
    argument
}

/// What went wrong, and what happens next.
fn blocker(asking: &Asking<'_>, error: QueryError) -> Blocker {
    let refusal = match error {
        QueryError::Other(blocker) => return blocker,
        QueryError::Lost(error) if error.kind() == io::ErrorKind::InvalidData => return asking.lasting(&error.to_string()),
        QueryError::Lost(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return asking.passing("the database closed the connection");
        }
        QueryError::Lost(error) => return asking.passing(&format!("the connection to the database was lost: {error}")),
        QueryError::Refused(refusal) => refusal,
    };
    let said = &refusal.said;
    match refusal.code {
        // Access denied to the server or the database, no such database.
        1044 | 1045 | 1049 | 1698 => asking.refused(said),
        1792 => asking.writes(said),
        1969 | 3024 => asking.too_slow(),
        // Too many connections, shutting down, out of memory, deadlocks, killed, the host is blocked.
        1037 | 1040 | 1041 | 1053 | 1129 | 1203 | 1205 | 1213 | 1226 | 1317 | 1927 => asking.passing_words(said),
        _ => asking.lasting_words(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_of_both_servers_are_read() {
        let greeting = |version: &[u8], method: &[u8]| {
            [
                &[10][..],
                version,
                &[0, 1, 0, 0, 0],
                b"01234567",
                &[0, 0xff, 0xff, 45, 2, 0, 0xff, 0x81, 21],
                &[0; 10],
                b"890123456789\0",
                method,
                &[0],
            ]
            .concat()
        };
        let mariadb = Greeting::of(&greeting(b"5.5.5-10.11.6-MariaDB-0+deb12u1", b"mysql_native_password")).expect("a greeting");
        assert_eq!((mariadb.is_mariadb, mariadb.offers_tls, &*mariadb.challenge), (true, true, &b"01234567890123456789"[..]));
        let mysql = Greeting::of(&greeting(b"8.4.2", b"caching_sha2_password")).expect("a greeting");
        assert_eq!((mysql.is_mariadb, Method::named(&mysql.method)), (false, Some(Method::CachingSha2)));
        assert!(Greeting::of(b"220 mail.example.com ESMTP").is_err() && Greeting::of(&greeting(b"8", b"x")[..20]).is_err());
    }

    #[test]
    fn parameters_are_texts() {
        assert_eq!(execution([7, 0, 0, 0], &[]), [7, 0, 0, 0, 0, 1, 0, 0, 0]);
        let wanted = [&[7, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 253, 0, 253, 0][..], b"\x02de\x0242"].concat();
        assert_eq!(execution([7, 0, 0, 0], &["de".to_owned(), "42".to_owned()]), wanted);
    }
}
