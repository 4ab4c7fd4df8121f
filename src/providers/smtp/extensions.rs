//! What a server offers in its answer to EHLO (RFC 5321, 4.1.1.1).

use super::Mechanism;
use crate::providers::Carriage;

/// The extensions that we use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// STARTTLS (RFC 3207).
    pub has_starttls: bool,
    /// PIPELINING (RFC 2920).
    pub has_pipelining: bool,
    /// CHUNKING (RFC 3030).
    pub has_chunking: bool,
    /// 8BITMIME (RFC 6152).
    pub has_8bitmime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub has_smtputf8: bool,
    /// SIZE (RFC 1870).
    pub has_size: bool,
    /// The largest message that SIZE allows, in bytes; none when it names no limit.
    pub size_max: Option<u64>,
    /// AUTH (RFC 4954), with whichever mechanisms.
    pub has_auth: bool,
    /// The offered AUTH mechanisms (RFC 4954) that we support, one bit per [`Mechanism`].
    mechanisms: u8,
}

impl Extensions {
    /// Reads the text of the reply: the first line is the server's name, each other line a keyword with parameters.
    #[must_use]
    pub fn read(text: &[u8]) -> Self {
        let mut extensions = Self::default();
        for line in text.split(|&byte| byte == b'\n').skip(1) {
            let line = String::from_utf8_lossy(line).to_ascii_uppercase();
            // Old servers write `AUTH=PLAIN`.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            match words.next() {
                Some("STARTTLS") => extensions.has_starttls = true,
                Some("PIPELINING") => extensions.has_pipelining = true,
                Some("CHUNKING") => extensions.has_chunking = true,
                Some("8BITMIME") => extensions.has_8bitmime = true,
                Some("SMTPUTF8") => extensions.has_smtputf8 = true,
                Some("SIZE") => {
                    extensions.has_size = true;
                    extensions.size_max = words.next().and_then(|n| n.parse().ok()).filter(|&n| n > 0);
                }
                Some("AUTH") => {
                    extensions.has_auth = true;
                    words.filter_map(Mechanism::from_keyword).for_each(|m| extensions.mechanisms |= 1 << m as u8);
                }
                _ => {}
            }
        }
        extensions
    }

    /// Whether AUTH offers the mechanism.
    #[must_use]
    pub fn offers(&self, mechanism: Mechanism) -> bool {
        self.mechanisms & (1 << mechanism as u8) != 0
    }

    /// How messages are sent to this server.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match (self.has_pipelining, self.has_chunking) {
            (true, true) => Mode::Chunking,
            (true, false) => Mode::Pipelining,
            (false, _) => Mode::Plain,
        }
    }
}

/// How messages are sent: what a message costs in round trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// MAIL, RCPT, BDAT and the content of all messages in one go: a batch costs about one.
    Chunking,
    /// A message's content goes with the next one's MAIL, RCPT, DATA: a message costs one.
    Pipelining,
    /// One command at a time: a message costs four.
    Plain,
}

impl Mode {
    /// How messages are handed over.
    #[must_use]
    pub const fn carriage(self) -> Carriage {
        match self {
            Self::Chunking => Carriage { batch: 32, ahead: 0, is_windowed: true },
            Self::Pipelining => Carriage { batch: 1, ahead: 1, is_windowed: false },
            Self::Plain => Carriage { batch: 1, ahead: 0, is_windowed: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Extensions, Mechanism, Mode};

    #[test]
    fn reads_what_servers_offer() {
        let postfix = Extensions::read(
            b"mx\nPIPELINING\nSIZE 10240000\nSTARTTLS\nAUTH PLAIN scram-sha-256 NTLM\nENHANCEDSTATUSCODES\n8BITMIME\nSMTPUTF8\nCHUNKING",
        );
        assert!(postfix.has_starttls && postfix.has_8bitmime && postfix.has_smtputf8 && postfix.has_size);
        assert_eq!((postfix.size_max, postfix.mode()), (Some(10_240_000), Mode::Chunking));
        assert!(postfix.offers(Mechanism::Plain) && postfix.offers(Mechanism::ScramSha256));
        assert!(!postfix.offers(Mechanism::Login) && !postfix.offers(Mechanism::XOAuth2));

        let old = Extensions::read(b"PIPELINING is my name\nAUTH=LOGIN\nSIZE 0\nSTARTTLSX");
        assert_eq!((old.has_size, old.size_max, old.has_starttls, old.mode()), (true, None, false, Mode::Plain));
        assert!(old.offers(Mechanism::Login));
        assert_eq!(Extensions::read(b"a\nPipelining").mode(), Mode::Pipelining);
        assert_eq!(Extensions::read(b"a\nCHUNKING").mode(), Mode::Plain);
        assert_eq!(Extensions::read(b""), Extensions::default());
    }
}
