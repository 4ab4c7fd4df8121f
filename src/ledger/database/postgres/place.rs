//! Where a PostgreSQL database is, and who asks: the URL of `--ledger`.

use std::{fmt, path::PathBuf, str::FromStr as _};

use percent_encoding::percent_decode_str;
use tokio_postgres::{Config, config::Host};

use crate::meta::secret::SecretValue;

/// The schema of a ledger whose URL names none.
pub(super) const SCHEMA_DEFAULT: &str = "mailfleet";
/// The longest name of a schema: PostgreSQL cuts longer ones off in silence.
const SCHEMA_MAX: usize = 63;
const FORM: &str = "write postgres://user:password@host/database";

/// How a connection is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// Not at all.
    None,
    /// By TLS, with a certificate that this machine trusts.
    System,
    /// By TLS, with a certificate of the authorities in this file.
    Authorities(PathBuf),
}

/// A database, by its URL.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabasePlace {
    /// Hosts and ports, in the order in which they are tried: one of them takes writes.
    pub(in crate::ledger) hosts: Vec<(String, u16)>,
    pub(super) user: String,
    pub(super) password: SecretValue,
    pub(super) database: String,
    pub(super) schema: String,
    pub(super) encryption: Encryption,
    /// Settings of the session, which some services tell their databases by.
    pub(super) options: Option<String>,
}

impl DatabasePlace {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, after "the URL"; none of its secrets is quoted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(format!("is not that of a PostgreSQL database; {FORM}"));
        }
        // What only this program knows is taken out, since the parser refuses what it does not know.
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        if query.contains('@') {
            return Err("has a `?` in the password; write `%3F` for it".to_owned());
        }
        let (mut kept, mut schema, mut authorities, mut mode) = (Vec::new(), SCHEMA_DEFAULT.to_owned(), None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8().map_err(|_| "has a percent-encoding that is not UTF-8".to_owned())?;
            match name {
                "schema" => schema = value.into_owned(),
                "sslmode" => mode = Some(value.into_owned()),
                "sslrootcert" => authorities = Some(value.into_owned()).filter(|path| path != "system"),
                "sslcert" | "sslkey" | "service" => return Err(format!("has `{name}`, which is not supported; remove it")),
                "options" | "application_name" | "target_session_attrs" | "channel_binding" => kept.push(pair),
                _ if name.chars().all(|c| c.is_ascii_lowercase() || c == '_') => {
                    return Err(format!("has `{name}`, which is not known; remove it"));
                }
                _ => return Err("has something behind a `?` that is no setting".to_owned()),
            }
        }
        let address = if kept.is_empty() { address.to_owned() } else { format!("{address}?{}", kept.join("&")) };
        let unreadable = |_| format!("cannot be read; {FORM}, with special characters in the password percent-encoded (`%23` for `#`)");
        let config = Config::from_str(&address).map_err(unreadable)?;
        let ports = config.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let mut hosts = Vec::new();
        for (index, host) in config.get_hosts().iter().enumerate() {
            match host {
                Host::Tcp(name) if !name.is_empty() => hosts.push((name.clone(), port(index))),
                _ => return Err(format!("names a socket or no host; {FORM}")),
            }
        }
        if hosts.is_empty() {
            return Err(format!("names no host; {FORM}"));
        }
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if schema.is_empty() || schema.len() > SCHEMA_MAX || !schema.chars().all(is_name) || schema.starts_with("pg_") {
            return Err(format!("names the schema `{schema}`; write up to {SCHEMA_MAX} lower-case letters, digits and underscores"));
        }
        let is_local = hosts.iter().all(|(host, _)| matches!(&**host, "localhost" | "127.0.0.1" | "::1"));
        let encryption = match mode.as_deref() {
            Some("disable") => Encryption::None,
            Some("require" | "verify-ca" | "verify-full" | "prefer" | "allow") | None => match authorities {
                Some(path) => Encryption::Authorities(path.into()),
                // Nobody between the two decides: it is encrypted, or not, before anything is sent.
                None if is_local && !matches!(mode.as_deref(), Some("require" | "verify-ca" | "verify-full")) => Encryption::None,
                None => Encryption::System,
            },
            Some(_) => return Err("has a `sslmode` that is not known; write `sslmode=require`".to_owned()),
        };
        Ok(Self {
            hosts,
            user: config.get_user().filter(|user| !user.is_empty()).ok_or_else(|| format!("names no user; {FORM}"))?.to_owned(),
            password: SecretValue::new(config.get_password().unwrap_or_default()),
            database: config.get_dbname().filter(|name| !name.is_empty()).ok_or_else(|| format!("names no database; {FORM}"))?.to_owned(),
            schema,
            encryption,
            options: config.get_options().map(str::to_owned),
        })
    }

    /// The schema that has the tables.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The same place, with a password that is kept elsewhere.
    #[must_use]
    pub fn with_password(self, password: SecretValue) -> Self {
        Self { password, ..self }
    }
}

/// Without user and password.
impl fmt::Display for DatabasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        for (index, (host, port)) in self.hosts.iter().enumerate() {
            let (comma, bracket) = (if index > 0 { "," } else { "" }, host.contains(':'));
            let host = if bracket { format!("[{host}]") } else { host.clone() };
            if *port == 5432 { write!(f, "{comma}{host}")? } else { write!(f, "{comma}{host}:{port}")? }
        }
        write!(f, "/{}", self.database)?;
        if self.schema == SCHEMA_DEFAULT { Ok(()) } else { write!(f, " (schema {})", self.schema) }
    }
}

impl fmt::Debug for DatabasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabasePlace({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_services_write_them() {
        let place = DatabasePlace::parse(
            "postgresql://news:p%40ss%23@db-a.example.com,db-b.example.com:5433/shop?sslmode=verify-full&options=endpoint%3Dx&schema=mail\n",
        )
        .expect("a URL");
        assert_eq!(place.hosts, [("db-a.example.com".to_owned(), 5432), ("db-b.example.com".to_owned(), 5433)]);
        assert_eq!((&*place.user, place.password.expose(), &*place.database), ("news", &b"p@ss#"[..], "shop"));
        assert_eq!((&*place.schema, &place.encryption, place.options.as_deref()), ("mail", &Encryption::System, Some("endpoint=x")));
        assert_eq!(place.to_string(), "postgres://db-a.example.com,db-b.example.com:5433/shop (schema mail)");
        for (text, encryption) in [
            ("postgres://u:p@localhost/d", Encryption::None),
            ("postgres://u:p@127.0.0.1:6432/d?sslmode=require", Encryption::System),
            ("postgres://u:p@db/d?sslmode=disable", Encryption::None),
            ("postgres://u:p@db/d?sslmode=prefer", Encryption::System),
            ("postgres://u:p@db/d?sslrootcert=/etc/ca.pem", Encryption::Authorities("/etc/ca.pem".into())),
            ("postgres://u:p@[::1]/d", Encryption::None),
        ] {
            assert_eq!(DatabasePlace::parse(text).expect(text).encryption, encryption, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_password() {
        for (text, wanted) in [
            ("", "is not that of a PostgreSQL database"),
            ("mysql://u:hunter2@db/d", "is not that of a PostgreSQL database"),
            ("postgres://u:hunter2@/d", "host"),
            ("postgres://u:hunter2@%2Fvar%2Frun/d", "names a socket"),
            ("postgres://db/d", "names no user"),
            ("postgres://u:hunter2@db", "names no database"),
            ("postgres://u:hunter2@db/d?sslmode=maybe", "write `sslmode=require`"),
            ("postgres://u:hunter2@db/d?schema=Mail", "names the schema `Mail`"),
            ("postgres://u:hunter2@db/d?sslkey=k", "`sslkey`, which is not supported"),
            ("postgres://u:hunter2@db/d?pool=3", "`pool`, which is not known"),
            ("postgres://u:se?hunter2@db/d", "write `%3F` for it"),
            ("postgres://u:p@db/d?hunter2", "behind a `?` that is no setting"),
        ] {
            let why = DatabasePlace::parse(text).expect_err(text);
            assert!(why.contains(wanted) && !why.contains("hunter2"), "{text}: {why}");
        }
        assert!(!format!("{:?}", DatabasePlace::parse("postgres://u:hunter2@db/d")).contains("hunter2"));
    }
}
