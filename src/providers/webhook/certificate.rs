//! Certificates of SNS: read, kept, and asked for the public key while they hold. Pure.
//!
//! Amazon publishes the certificate that signs, and not those above it, so that there is no chain to check: what vouches for it is the
//! TLS connection to Amazon's own host over which it was fetched. Its dates are checked here.

use std::collections::VecDeque;

use jiff::{civil::DateTime, tz::TimeZone};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

/// Certificates that are kept; Amazon uses one for each region, and a new one each year.
const CERTIFICATES_MAX: usize = 32;

/// A vendor's certificate, with whose key the signatures of its calls are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// DER of its public key (RFC 5280, SubjectPublicKeyInfo).
    public_key: Vec<u8>,
    from_ms: i64,
    until_ms: i64,
}

impl Certificate {
    /// Reads PEM.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, &'static str> {
        let der = CertificateDer::from_pem_slice(pem).map_err(|_| "there is no PEM certificate")?;
        let certificate = webpki::EndEntityCert::try_from(&der).map_err(|_| "the certificate cannot be read")?;
        let public_key = certificate.subject_public_key_info().to_vec();
        let (from_ms, until_ms) = validity(&der).ok_or("the certificate's dates cannot be read")?;
        Ok(Self { public_key, from_ms, until_ms })
    }

    /// The public key, while the certificate holds.
    #[must_use]
    pub fn public_key(&self, now_ms: i64) -> Option<&[u8]> {
        (self.from_ms..=self.until_ms).contains(&now_ms).then_some(&self.public_key)
    }
}

/// Certificates by the address that they were fetched from.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    known: VecDeque<(String, Certificate)>,
}

impl Certificates {
    /// The certificate of an address, if it is known.
    #[must_use]
    pub fn get(&self, url: &str) -> Option<&Certificate> {
        self.known.iter().find(|(known, _)| known == url).map(|(_, certificate)| certificate)
    }

    /// Keeps a certificate; the oldest makes room.
    pub fn keep(&mut self, url: &str, certificate: Certificate) {
        self.known.retain(|(known, _)| known != url);
        if self.known.len() >= CERTIFICATES_MAX {
            self.known.pop_front();
        }
        self.known.push_back((url.to_owned(), certificate));
    }
}

/// The dates within which a certificate holds (RFC 5280, 4.1.2.5), milliseconds since 1970; webpki tells them only of a chain.
fn validity(der: &[u8]) -> Option<(i64, i64)> {
    let (SEQUENCE, certificate, _) = element(der)? else { return None };
    let (SEQUENCE, mut rest, _) = element(certificate)? else { return None };
    if let (VERSION, _, after) = element(rest)? {
        rest = after;
    }
    // Serial number, signature algorithm and issuer.
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (SEQUENCE, dates, _) = element(rest)? else { return None };
    let (tag, from, dates) = element(dates)?;
    let (until_tag, until, _) = element(dates)?;
    Some((date(tag, from)?, date(until_tag, until)?))
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The first element of DER: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

fn date(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let full = match tag {
        // Years from 1950 to 2049.
        UTC_TIME => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let at = DateTime::strptime("%Y%m%d%H%M%SZ", full).ok()?;
    Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_holds_within_its_dates() {
        for (year, tag) in [(2040, "UTCTime"), (2060, "GeneralizedTime")] {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(vec!["sns.amazonaws.com".to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(2020, 2, 29);
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let pem = params.self_signed(&key).unwrap().pem();
            let certificate = Certificate::from_pem(pem.as_bytes()).unwrap();
            assert_eq!(certificate.from_ms, 1_582_934_400_000, "{tag}");
            assert!(certificate.public_key(certificate.from_ms).is_some());
            assert!(certificate.public_key(certificate.from_ms - 1).is_none());
            assert!(certificate.public_key(certificate.until_ms + 1).is_none());
            // Whatever is cut off or changed, nothing panics.
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            for end in 0..der.len() {
                assert_eq!(validity(&der[..end]), None);
                let mut changed = der.to_vec();
                changed[end] ^= 0x5a;
                let _ = validity(&changed);
            }
        }
        assert_eq!(Certificate::from_pem(b"").unwrap_err(), "there is no PEM certificate");
        let empty = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(Certificate::from_pem(empty).unwrap_err(), "the certificate cannot be read");
    }

    #[test]
    fn the_oldest_makes_room() {
        let certificate = Certificate { public_key: Vec::new(), from_ms: 0, until_ms: 1 };
        let mut certificates = Certificates::default();
        for number in 0..=CERTIFICATES_MAX {
            certificates.keep(&number.to_string(), certificate.clone());
        }
        assert_eq!((certificates.known.len(), certificates.get("0"), certificates.get("1").is_some()), (CERTIFICATES_MAX, None, true));
    }
}
