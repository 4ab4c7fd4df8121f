//! DNS as lines of text in, verdicts out.

mod checks;
mod spf;

use std::time::{Duration, Instant};

use super::{Answer, Answers, Data, Question, RecordType, dkim, dmarc, resolver::Silence, resolver_address, zone};
use crate::dkim::PrivateKey;

/// DNS that holds these records, one a line, and nothing else: `name TYPE data`; `name TYPE !` fails.
pub(super) struct World(Vec<(String, RecordType, String)>);

impl World {
    pub fn new(text: &str) -> Self {
        let line = |line: &str| {
            let mut words = line.trim().splitn(3, ' ');
            let mut word = || words.next().expect("three words").to_owned();
            let (name, kind, data) = (word(), word(), word());
            let kinds = [RecordType::A, RecordType::Aaaa, RecordType::Mx, RecordType::Ptr, RecordType::Txt];
            (name, *kinds.iter().find(|known| known.as_str() == kind).expect("a type"), data)
        };
        Self(text.lines().filter(|text| !text.trim().is_empty()).map(line).collect())
    }

    fn answer(&self, question: &Question) -> Answer {
        let mut found = Vec::new();
        for (_, _, data) in self.0.iter().filter(|(name, kind, _)| (name, *kind) == (&question.name, question.kind)) {
            found.push(match question.kind {
                _ if data == "!" => return Answer::Failed("the name server answered SERVFAIL".to_owned()),
                RecordType::A | RecordType::Aaaa => Data::Address(data.parse().expect("an address")),
                RecordType::Ptr => Data::Name(data.clone()),
                RecordType::Txt => Data::Text(data.clone()),
                RecordType::Mx => {
                    let (preference, host) = data.split_once(' ').expect("preference and host");
                    Data::Mx(preference.parse().expect("a number"), host.to_owned())
                }
            });
        }
        if found.is_empty() { Answer::Missing } else { Answer::Found(found) }
    }

    /// Judges until no question is open, as the resolver does.
    pub fn settle<T>(&self, judge: impl FnMut(&mut Answers) -> T) -> T {
        Answers::settle(judge, |question| self.answer(question))
    }
}

/// The public half of a key.
pub(super) fn public_key(pem: &[u8]) -> Result<Vec<u8>, String> {
    PrivateKey::parse(pem).map(|key| key.public().to_vec())
}

/// A key that openssl made, in PEM.
pub(super) const ED25519: &str =
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

#[test]
fn the_record_of_a_key_is_derived_from_the_private_one() {
    // RFC 8032, 7.1, test 1: the private key above, and its public key, which RFC 8463, A.2 publishes.
    let public = public_key(ED25519.as_bytes()).expect("a key");
    assert_eq!(dkim::record(&public), "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    for pem in [
        "",
        "nothing",
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
    ] {
        let why = public_key(pem.as_bytes()).expect_err("no key");
        assert!(why.contains("2,048"), "{pem}: {why}");
    }
}

#[test]
fn a_record_is_judged_for_its_key() {
    let public = public_key(ED25519.as_bytes()).expect("a key");
    let good = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    for (text, wrong) in [
        (format!("v=DKIM1; k=ed25519; p={good}"), ""),
        (format!("k=ed25519; p={good};"), ""),
        (format!(" v = DKIM1 ;t=s:y; s=tlsrpt : email; h=sha1:sha256; k=ed25519;p= {} {}", &good[..10], &good[10..]), ""),
        (format!("p={good}; v=DKIM1; k=ed25519"), "begin with"),
        (format!("v=DKIM2; k=ed25519; p={good}"), "begin with"),
        (format!("v=DKIM1; p={good}"), "another type"),
        (format!("v=DKIM1; k=ed25519; h=sha1; p={good}"), "SHA-256"),
        (format!("v=DKIM1; k=ed25519; s=tlsrpt; p={good}"), "not for email"),
        (format!("v=DKIM1; k=ed25519; p={good}; p={good}"), "twice"),
        ("v=DKIM1; k=ed25519; p=".to_owned(), "revokes"),
        ("v=DKIM1; k=ed25519".to_owned(), "no key"),
        ("v=DKIM1; k=ed25519; p=11qY*".to_owned(), "base64"),
        ("v=DKIM1; k=ed25519; p=AAqYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".to_owned(), "another key"),
        ("hello".to_owned(), "list of tags"),
        (String::new(), "empty"),
    ] {
        let judged = dkim::judge(&text, &public);
        assert!(
            if wrong.is_empty() { judged.is_ok() } else { judged.as_ref().is_err_and(|why| why.contains(wrong)) },
            "{text}: {judged:?}"
        );
    }
}

#[test]
fn a_policy_is_found_by_walking_up() {
    let world = World::new(
        "_dmarc.example.com TXT v=DMARC1; p=reject; adkim=s
         _dmarc.shop.example.net TXT v=DMARC1; p=none
         _dmarc.example.net TXT v=DMARC1; p=none
         _dmarc.co.example TXT v=DMARC1; p=none; psd=y
         _dmarc.own.example TXT v=DMARC1; p=none; psd=n
         _dmarc.example TXT v=DMARC1; p=none
         _dmarc.twice.test TXT v=DMARC1; p=none
         _dmarc.twice.test TXT v=DMARC1; p=reject
         _dmarc.bad.test TXT v=DMARC1; p=maybe
         _dmarc.noted.test TXT v=DMARC1; rua=mailto:a@noted.test
         _dmarc.other.test TXT hello
         _dmarc.away.test TXT !",
    );
    for (domain, wanted) in [
        ("example.com", "example.com"),
        ("a.b.c.d.e.f.g.h.i.example.com", "example.com"),
        ("mail.shop.example.net", "example.net"),
        ("shop.example.net", "shop.example.net"),
        ("news.co.example", "co.example"),
        ("noted.test", "noted.test"),
        ("twice.test", "wrong: exists more than once, which receivers treat as no record"),
        ("bad.test", "wrong: has p=maybe, which must be none, quarantine or reject"),
        ("other.test", "missing"),
        ("away.test", "failed: the name server answered SERVFAIL"),
        ("below.away.test", "failed: the name server answered SERVFAIL"),
    ] {
        let found = match world.settle(|answers| dmarc::policy(answers, domain)) {
            dmarc::Found::Policy(policy) => policy.domain,
            dmarc::Found::Missing => "missing".to_owned(),
            dmarc::Found::Wrong(_, why) => format!("wrong: {why}"),
            dmarc::Found::Failed(why) => format!("failed: {why}"),
        };
        assert_eq!(found, wanted, "{domain}");
    }
    for (domain, wanted) in [
        ("a.b.example.com", "example.com"),
        ("a.shop.example.net", "example.net"),
        ("a.news.co.example", "news.co.example"),
        ("co.example", "co.example"),
        ("a.own.example", "own.example"),
        ("a.nothing.test", "a.nothing.test"),
    ] {
        assert_eq!(world.settle(|answers| dmarc::organizational(answers, domain)).as_deref(), Ok(wanted), "{domain}");
    }
    for (domain, from, is_strict, wanted) in [
        ("example.com", "example.com", true, true),
        ("mail.example.com", "example.com", true, false),
        ("mail.example.com", "news.example.com", false, true),
        ("example.org", "example.com", false, false),
        ("a.co.example", "b.co.example", false, false),
    ] {
        assert_eq!(world.settle(|answers| dmarc::is_aligned(answers, domain, from, is_strict)), Ok(wanted), "{domain} for {from}");
    }
}

#[test]
fn a_zone_file_has_strings_of_255_bytes_and_escapes() {
    let long = "x".repeat(600);
    let line = zone::record("a.example.", RecordType::Txt, &long);
    let strings: Vec<&str> = line.split(" TXT ").nth(1).expect("data").split(' ').collect();
    assert_eq!(strings.iter().map(|part| part.len() - 2).collect::<Vec<_>>(), [255, 255, 90], "{line}");
    assert_eq!(zone::line("a.example", RecordType::Txt, "a\"b\\c\u{e4};"), r#"a.example. TXT "a\"b\\c\195\164;""#);
    assert_eq!(zone::record("a.example", RecordType::Mx, "10 b.example"), "a.example. 3600 IN MX 10 b.example.");
    assert_eq!(zone::line("a.example", RecordType::Aaaa, "2001:db8::1"), "a.example. AAAA 2001:db8::1");
    assert_eq!(zone::line("a.example", RecordType::Txt, ""), "a.example. TXT \"\"");
}

#[test]
fn addresses_of_resolvers() {
    for (text, wanted) in [
        ("10.0.0.53", Some("10.0.0.53:53")),
        ("10.0.0.53:5353", Some("10.0.0.53:5353")),
        ("2001:db8::53", Some("[2001:db8::53]:53")),
        ("[2001:db8::53]", Some("[2001:db8::53]:53")),
        ("[2001:db8::53]:54", Some("[2001:db8::53]:54")),
        ("dns.example.com", None),
        ("", None),
    ] {
        assert_eq!(resolver_address(text).ok().map(|address| address.to_string()).as_deref(), wanted, "{text}");
    }
}

#[test]
fn a_resolver_that_is_away_is_not_asked_again_and_again() {
    let (mut silence, now) = (Silence::default(), Instant::now());
    for _ in 0..7 {
        silence.note(false, now);
        assert!(!silence.lasts(now), "one name that nobody answers for says nothing of the resolver");
    }
    silence.note(false, now);
    assert!(silence.lasts(now + Duration::from_secs(4)));
    assert!(!silence.lasts(now + Duration::from_secs(5)), "it is asked again");
    silence.note(true, now);
    assert!(!silence.lasts(now));
}
