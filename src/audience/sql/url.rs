//! The URL of a database, as hosting services hand it out.

use std::fmt;

use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::meta::secret::SecretValue;

/// A database's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// PostgreSQL, and what speaks its protocol.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
}

/// Where a database is, and who asks.
pub(super) struct DatabaseUrl {
    pub kind: Kind,
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: SecretValue,
    pub database: String,
    /// Whether the connection is encrypted: whenever it leaves this machine, unless the URL says otherwise.
    pub encrypted: bool,
    /// Of PostgreSQL: settings of the session, which some services tell their databases by.
    pub options: Option<String>,
}

/// Parameters that lead elsewhere than the URL, and are for programs on the database's own machine.
const ELSEWHERE: [&str; 8] = ["host", "hostaddr", "port", "service", "socket", "unix_socket", "sslcert", "sslkey"];

impl DatabaseUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, after "the URL"; none of its parts is quoted but the names of parameters.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write postgres://user:password@host/database or mysql://user:password@host/database";
        let url = Url::parse(text.trim()).map_err(|error| {
            format!("is not one: {error}; {FORM}, with special characters in the password percent-encoded (`%23` for `#`)")
        })?;
        let (kind, port) = match url.scheme() {
            "postgres" | "postgresql" => (Kind::Postgres, 5432),
            "mysql" | "mariadb" => (Kind::MySql, 3306),
            _ => return Err(format!("is not that of a supported database; {FORM}")),
        };
        let decoded = |part: &str| percent_decode_str(part).decode_utf8().map(std::borrow::Cow::into_owned);
        let host = decoded(url.host_str().unwrap_or_default()).unwrap_or_default();
        if host.is_empty() || host.starts_with('/') {
            return Err(format!("names no host; {FORM}"));
        }
        let not_utf8 = |_| "has a percent-encoding that is not UTF-8".to_owned();
        let user = decoded(url.username()).map_err(not_utf8)?;
        let password = decoded(url.password().unwrap_or_default()).map_err(not_utf8)?;
        let database = decoded(url.path().trim_start_matches('/')).map_err(not_utf8)?;
        if user.is_empty() {
            return Err(format!("names no user; {FORM}"));
        }
        if database.is_empty() || database.contains('/') {
            return Err(format!("names no database; {FORM}"));
        }
        if [&user, &password, &database].into_iter().any(|part| part.contains('\0')) {
            return Err("contains a zero byte".to_owned());
        }
        let is_local = matches!(&*host, "localhost" | "127.0.0.1" | "[::1]");
        let (mut encrypted, mut options) = (!is_local, None);
        for (name, value) in url.query_pairs() {
            match (&*name.to_ascii_lowercase(), &*value.to_ascii_lowercase()) {
                ("sslmode" | "ssl-mode", "disable" | "disabled") => encrypted = false,
                ("sslmode" | "ssl-mode", "require" | "required" | "verify-ca" | "verify_ca" | "verify-full" | "verify_identity") => {
                    encrypted = true;
                }
                // Nobody between the two decides: it is encrypted, or not, before anything is sent.
                ("sslmode" | "ssl-mode", "prefer" | "preferred" | "allow") | ("sslrootcert" | "ssl-ca", "system") => {}
                ("sslmode" | "ssl-mode", _) => return Err(format!("has a `{name}` that is not known; write `{name}=require`")),
                ("sslrootcert" | "ssl-ca", _) => {
                    return Err(format!("names a file by `{name}`; put the certificate into a Secret, and name it in `caRef`"));
                }
                ("options", _) if kind == Kind::Postgres => options = Some(value.into_owned()),
                (other, _) if ELSEWHERE.contains(&other) => return Err(format!("has `{name}`, which is not supported; remove it")),
                // For other clients: a pool, a schema, a timeout.
                _ => {}
            }
        }
        let port = url.port().unwrap_or(port);
        Ok(Self { kind, host, port, user, password: SecretValue::new(password), database, encrypted, options })
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseUrl").field("kind", &self.kind).field("host", &self.host).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_services_write_them() {
        let url = DatabaseUrl::parse(
            "postgresql://news:p%40ss%23@db.example.com/shop?sslmode=verify-full&channel_binding=require&options=endpoint%3Dx\n",
        )
        .expect("a URL");
        assert_eq!((url.kind, &*url.host, url.port, &*url.user, &*url.database), (Kind::Postgres, "db.example.com", 5432, "news", "shop"));
        assert_eq!((url.password.expose(), url.encrypted, url.options.as_deref()), (&b"p@ss#"[..], true, Some("endpoint=x")));
        let url = DatabaseUrl::parse("mysql://u:p@[::1]:3307/d?charset=utf8mb4").expect("a URL");
        assert_eq!((url.kind, &*url.host, url.port, url.encrypted), (Kind::MySql, "[::1]", 3307, false));
        for (text, encrypted) in [
            ("mariadb://u:p@db/d", true),
            ("mysql://u:p@db/d?ssl-mode=DISABLED", false),
            ("postgres://u:p@localhost/d", false),
            ("postgres://u:p@localhost/d?sslmode=require", true),
            ("postgres://u:p@db/d?sslmode=prefer", true),
        ] {
            assert_eq!(DatabaseUrl::parse(text).expect("a URL").encrypted, encrypted, "{text}");
        }
        assert!(!format!("{:?}", DatabaseUrl::parse("postgres://u:hunter2@db/d")).contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_password() {
        for (text, wanted) in [
            ("", "is not one"),
            ("hunter2", "is not one"),
            ("https://u:hunter2@db/d", "is not that of a supported database"),
            ("postgres://u:hunter2@/d", "is not one"),
            ("postgres://u:hunter2@%2Fvar%2Frun/d", "names no host"),
            ("postgres://db/d", "names no user"),
            ("postgres://u:hunter2@db", "names no database"),
            ("postgres://u:hunter2@db/d?host=/var/run", "`host`, which is not supported"),
            ("postgres://u:hunter2@db/d?sslmode=maybe", "write `sslmode=require`"),
            ("postgres://u:hunter2@db/d?sslrootcert=ca.pem", "name it in `caRef`"),
            ("mysql://u:%ff@db/d", "not UTF-8"),
            ("postgres://u:hunter2#x@db/d", "percent-encoded"),
        ] {
            let why = DatabaseUrl::parse(text).expect_err(text);
            assert!(why.contains(wanted) && !why.contains("hunter2"), "{text}: {why}");
        }
    }
}
