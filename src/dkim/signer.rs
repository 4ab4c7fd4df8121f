//! Writes signatures: what a message's signatures cover is gathered once, and each key signs it.

use std::{io::Write as _, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    canonical::relaxed_field,
    cover::{Cover, Fields},
    key::{Algorithm, PrivateKey, SigningFailed},
};
use crate::meta::net::is_at_or_below;

/// Where lines of the field are folded (RFC 5322, 2.1.1).
const LINE: usize = 78;
/// The length of a signature's line.
const SIGNATURE_LINE: usize = 72;

/// A header field of a message.
#[derive(Clone, Copy, Debug)]
struct Field<'a> {
    name: &'a [u8],
    /// From the name to the end, without the last line end.
    whole: &'a [u8],
}

/// A message, taken apart.
#[derive(Debug)]
pub struct Content<'a> {
    fields: Vec<Field<'a>>,
    /// What follows the empty line.
    pub body: &'a [u8],
}

impl<'a> Content<'a> {
    /// Takes a message apart (RFC 5322, 2.1); its lines end by CRLF.
    #[must_use]
    pub fn read(message: &'a [u8]) -> Self {
        let mut fields: Vec<Field<'a>> = Vec::with_capacity(24);
        let (mut start, mut begun) = (0, 0);
        loop {
            let rest = &message[start..];
            if rest.is_empty() || rest.starts_with(b"\r\n") {
                return Self { fields, body: rest.get(2..).unwrap_or_default() };
            }
            let mut ends = memchr::memchr_iter(b'\n', rest);
            let end = ends.find(|at| rest[..*at].ends_with(b"\r")).map_or(message.len(), |at| start + at - 1);
            if matches!(rest[0], b' ' | b'\t') && !fields.is_empty() {
                if let Some(last) = fields.last_mut() {
                    last.whole = &message[begun..end];
                }
            } else {
                begun = start;
                let whole = &message[start..end];
                let colon = memchr::memchr(b':', whole).unwrap_or(0);
                fields.push(Field { name: whole[..colon].trim_ascii_end(), whole });
            }
            start = (end + 2).min(message.len());
        }
    }

    /// The domain of the From address, as DNS has it; none without one.
    #[must_use]
    pub fn from_domain(&self) -> Option<String> {
        let field = self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(b"From"))?;
        let value = std::str::from_utf8(&field.whole[field.name.len()..]).ok()?;
        // The address in angle brackets stands last; a name may hold others.
        let address = match value.rfind('<') {
            Some(at) => value[at + 1..].split('>').next().unwrap_or_default(),
            None => value.trim_start_matches(':'),
        };
        let domain = address.rsplit_once('@')?.1.trim().trim_end_matches('.');
        if domain.is_ascii() { Some(domain.to_ascii_lowercase()) } else { idna::domain_to_ascii(domain).ok() }
    }

    /// What signatures of the message cover, in place of what was there before.
    pub fn cover(&self, fields: &Fields, covered: &mut Covered) {
        covered.names.clear();
        covered.canonical.clear();
        let mut column = " h=".len();
        for (name, cover) in fields.0 {
            // From the last one upwards (RFC 6376, 5.4.2).
            let mut count = 0;
            for field in self.fields.iter().rev().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes())) {
                relaxed_field(field.whole, &mut covered.canonical);
                covered.canonical.extend_from_slice(b"\r\n");
                count += 1;
            }
            let once_more = match cover {
                Cover::Sealed => 1,
                Cover::SealedIfThere => usize::from(count > 0),
                Cover::Signed => 0,
            };
            for _ in 0..count + once_more {
                if !covered.names.is_empty() {
                    covered.names.push(b':');
                    column += 1;
                }
                if column + name.len() + 1 > LINE {
                    covered.names.extend_from_slice(b"\r\n ");
                    column = 1;
                }
                covered.names.extend_from_slice(name.as_bytes());
                column += name.len();
            }
        }
    }
}

/// What the signatures of a message cover: the names of header fields, and these in their canonical form. One serves for any number
/// of messages, so that its memory is asked for once.
#[derive(Debug, Default)]
pub struct Covered {
    names: Vec<u8>,
    canonical: Vec<u8>,
}

/// A key that signs for a domain.
#[derive(Debug)]
pub struct Signer {
    domain: String,
    key: Arc<PrivateKey>,
    /// The field up to the time.
    head: Vec<u8>,
}

impl Signer {
    /// A key that signs for a domain; both names as DNS has them.
    #[must_use]
    pub fn new(domain: &str, selector: &str, key: Arc<PrivateKey>) -> Self {
        let algorithm = key.algorithm().as_str();
        let mut head = format!("DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed;");
        for tag in [format!(" d={domain};"), format!(" s={selector};"), " t=".to_owned()] {
            let line = head.rsplit('\n').next().unwrap_or_default().len();
            // A time takes up to 12 characters.
            if line + tag.len() + 12 > LINE {
                head.push_str("\r\n");
            }
            head.push_str(&tag);
        }
        Self { domain: domain.to_owned(), key, head: head.into_bytes() }
    }

    /// The domain that it signs for (`d=`).
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    /// Whether it may sign for a From domain: its own, or one below it.
    #[must_use]
    pub fn fits(&self, from_domain: &str) -> bool {
        is_at_or_below(from_domain, &self.domain)
    }

    /// Writes the field, with its line end, at a time in seconds since 1970.
    ///
    /// # Errors
    /// When the signature cannot be made.
    pub fn write(&self, covered: &mut Covered, body_hash: &[u8; 32], at_s: u64, out: &mut Vec<u8>) -> Result<(), SigningFailed> {
        let begin = out.len();
        out.extend_from_slice(&self.head);
        // A vector takes whatever is written.
        let _ = write!(out, "{at_s};\r\n h=");
        out.extend_from_slice(&covered.names);
        out.extend_from_slice(b";\r\n bh=");
        let mut base64 = [0; 64];
        let length = STANDARD.encode_slice(body_hash, &mut base64).unwrap_or(0);
        out.extend_from_slice(&base64[..length]);
        out.extend_from_slice(b";\r\n b=");
        let length = covered.canonical.len();
        relaxed_field(&out[begin..], &mut covered.canonical);
        let hash = digest(&SHA256, &covered.canonical);
        covered.canonical.truncate(length);
        let signature = STANDARD.encode(self.key.sign(&hash).inspect_err(|_| out.truncate(begin))?);
        for (position, line) in signature.as_bytes().chunks(SIGNATURE_LINE).enumerate() {
            out.extend_from_slice(if position == 0 { b"" } else { b"\r\n " });
            out.extend_from_slice(line);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}
