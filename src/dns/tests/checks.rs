//! What a server's identity needs, and what is said of it.

use std::fmt::Write as _;

use super::{ED25519, World, public_key};
use crate::{
    dns::{Answer, Answers, Check, Origin, Subject, Verdict, check::Purpose, dkim, judge, resolver::settle, zone},
    egress::Egress,
    meta::Reason,
    resources::{KeyRef, SendingServer},
};

fn subject_of(provider: &str, identity: &str) -> Option<Subject> {
    let yaml = format!(
        "{{apiVersion: mailfleet.dev/v1alpha1, kind: SendingServer, metadata: {{name: relay}}, spec: {{provider: {provider}, identity: {identity}}}}}"
    );
    let server: SendingServer = serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"));
    Subject::of(&server.spec, Egress::Everywhere, |reference: &KeyRef| {
        if reference.name == "gone" {
            Err((Reason::SecretNotFound, "there is no Secret".to_owned()))
        } else {
            Ok(public_key(ED25519.as_bytes()).expect("a key"))
        }
    })
}

fn subject(identity: &str) -> Subject {
    subject_of("{smtp: {host: relay.news.test}}", identity).expect("a subject")
}

/// What is wrong, as `purpose verdict: words`.
fn wrong(world: &World, subject: &Subject) -> Vec<String> {
    let checks = world.settle(|answers| judge(subject, answers));
    let bad = checks.iter().filter(|check| check.verdict != Verdict::Good);
    bad.map(|check| format!("{} {}: {}", check.purpose.as_str(), check.verdict.as_str(), check.words)).collect()
}

const GOOD: &str = "
    s1._domainkey.news.test TXT v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
    b.news.test TXT v=spf1 ip4:192.0.2.10 -all
    b.news.test MX 10 relay.news.test
    relay.news.test A 192.0.2.10
    _dmarc.test TXT v=DMARC1; p=none; psd=y
    _dmarc.news.test TXT v=DMARC1; p=reject
    10.2.0.192.in-addr.arpa PTR relay.news.test
";
const IDENTITY: &str = "{domains: [news.test], returnPath: b.news.test, dkim: [{domain: news.test, selector: s1, privateKeyRef: {name: dkim, key: k}}], sendingAddresses: [192.0.2.10]}";

/// The good world without the lines that begin so, and with others.
fn changed(without: &str, with: &str) -> World {
    let kept: Vec<&str> = GOOD.lines().filter(|line| without.is_empty() || !line.trim().starts_with(without)).collect();
    World::new(&format!("{}\n{with}", kept.join("\n")))
}

#[test]
fn each_fault_is_told_with_the_record_that_mends_it() {
    assert_eq!(wrong(&changed("", ""), &subject(IDENTITY)), Vec::<String>::new());
    let key = "\"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"";
    for (without, with, wanted) in [
        (
            "s1.",
            "",
            format!("DKIM missing: DKIM: s1._domainkey.news.test has no TXT record. Publish: s1._domainkey.news.test. TXT {key}"),
        ),
        (
            "s1.",
            "s1._domainkey.news.test TXT v=DKIM1; k=ed25519; p=AAAA",
            format!("DKIM wrong: DKIM: the record of s1._domainkey.news.test contains another key (p=). Publish in its place: s1._domainkey.news.test. TXT {key}"),
        ),
        (
            "",
            "s1._domainkey.news.test TXT v=DKIM1; p=AAAA",
            format!("DKIM wrong: DKIM: s1._domainkey.news.test has more than one TXT record. Publish in its place: s1._domainkey.news.test. TXT {key}"),
        ),
        (
            "b.news.test TXT",
            "",
            "SPF missing: SPF: b.news.test has no SPF record. Publish: b.news.test. TXT \"v=spf1 ip4:192.0.2.10 ~all\"".to_owned(),
        ),
        (
            "b.news.test TXT",
            "b.news.test TXT v=spf1 mx:other.test -all",
            "SPF wrong: SPF: the record of b.news.test does not permit 192.0.2.10 (fail). Publish in its place: b.news.test. TXT \"v=spf1 ip4:192.0.2.10 mx:other.test -all\"".to_owned(),
        ),
        (
            "",
            "b.news.test TXT v=spf1 mx ~all",
            "SPF wrong: SPF: b.news.test has 2 SPF records, which receivers treat as no record. Publish in its place: b.news.test. TXT \"v=spf1 ip4:192.0.2.10 mx -all\"".to_owned(),
        ),
        (
            "b.news.test TXT",
            "b.news.test TXT v=spf1 ip4:192.0.2.300 -all",
            "SPF wrong: SPF: the record of b.news.test cannot be evaluated, so that receivers ignore it: the SPF record of b.news.test is malformed: `ip4:192.0.2.300`. Correct that record, or remove terms until 10 lookups are enough.".to_owned(),
        ),
        (
            "b.news.test TXT",
            "b.news.test TXT !",
            "SPF not known: b.news.test TXT could not be looked up: the name server answered SERVFAIL.".to_owned(),
        ),
        (
            "b.news.test MX",
            "",
            "return path missing: Return path: b.news.test has neither an MX record nor an address, so bounces are lost. Publish: b.news.test. MX 10 relay.news.test.".to_owned(),
        ),
        (
            "b.news.test MX",
            "b.news.test MX 0 .",
            "return path wrong: Return path: no MX record of b.news.test names a host that has an address, so bounces are lost. Publish in its place: b.news.test. MX 10 relay.news.test.".to_owned(),
        ),
        (
            "_dmarc",
            "",
            "DMARC missing: DMARC: neither _dmarc.news.test nor a domain above it has a policy. Publish: _dmarc.news.test. TXT \"v=DMARC1; p=none\"".to_owned(),
        ),
        (
            "_dmarc.news",
            "_dmarc.news.test TXT v=DMARC1; p=sure",
            "DMARC wrong: DMARC: the record of _dmarc.news.test has p=sure, which must be none, quarantine or reject. Publish in its place: _dmarc.news.test. TXT \"v=DMARC1; p=none\"".to_owned(),
        ),
        (
            "10.2",
            "",
            "PTR missing: PTR: 192.0.2.10 has no name. Publish: 10.2.0.192.in-addr.arpa. PTR relay.news.test.".to_owned(),
        ),
        (
            "10.2",
            "10.2.0.192.in-addr.arpa PTR other.test",
            "PTR wrong: PTR: none of the names of 192.0.2.10 has that address. Publish in its place: 10.2.0.192.in-addr.arpa. PTR relay.news.test.".to_owned(),
        ),
    ] {
        assert_eq!(wrong(&changed(without, with), &subject(IDENTITY)), [wanted], "without {without}, with {with}");
    }
    // Without the key nothing can be published for it.
    let without_key = subject(&IDENTITY.replace("name: dkim", "name: gone"));
    assert_eq!(
        wrong(&changed("", ""), &without_key),
        ["DKIM not known: DKIM: the record of s1._domainkey.news.test is not known: there is no Secret."]
    );
}

#[test]
fn the_very_domain_or_one_of_its_organization_is_aligned() {
    let signs = |domain: &str| {
        let mut subject = subject(
            "{domains: [news.test], returnPath: other.example, dkim: [{domain: news.test, selector: s1, privateKeyRef: {name: dkim, key: k}}]}",
        );
        domain.clone_into(&mut subject.keys[0].domain);
        subject
    };
    let world = |policy: &str| {
        changed(
            "_dmarc.news",
            &format!(
                "_dmarc.news.test TXT v=DMARC1; p=none{policy}\nother.example TXT v=spf1 -all\nother.example A 192.0.2.1\ns1._domainkey.mail.news.test TXT v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\ns1._domainkey.example.org TXT v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
            ),
        )
    };
    for (domain, policy, is_aligned) in
        // A key of another domain of the organization is aligned, and does not sign.
        [("news.test", "; adkim=s", true), ("mail.news.test", "", false), ("example.org", "", false)]
    {
        let found = wrong(&world(policy), &signs(domain));
        assert_eq!(found.iter().any(|one| one.contains("is not aligned")), !is_aligned, "{domain}{policy}: {found:?}");
        assert_eq!(found.len(), usize::from(!is_aligned), "{domain}{policy}: {found:?}");
    }
    // A return path of the organization is enough.
    let mut of_others = subject(IDENTITY);
    "example.org".clone_into(&mut of_others.keys[0].domain);
    assert_eq!(wrong(&world(""), &of_others), Vec::<String>::new());
}

#[test]
fn the_next_key_of_a_domain_holds_nothing_up() {
    let mut subject = subject(IDENTITY);
    let mut next = subject.keys[0].clone();
    "s2".clone_into(&mut next.selector);
    subject.keys.push(next);
    let needed = |world: &World| {
        let checks = world.settle(|answers| judge(&subject, answers));
        let keys = checks.iter().filter(|check| check.purpose == Purpose::Dkim);
        keys.map(|check| (check.verdict, check.is_needed)).collect::<Vec<_>>()
    };
    assert_eq!(needed(&changed("", "")), [(Verdict::Good, true), (Verdict::Missing, false)]);
    assert_eq!(needed(&changed("s1.", "")), [(Verdict::Missing, true), (Verdict::Missing, true)]);
}

#[test]
fn where_mail_comes_from_is_known_or_not_claimed() {
    let ours = "{domains: [news.test]}";
    for (provider, identity, origin, envelopes) in [
        ("{smtp: {host: relay.news.test}}", ours, Origin::Host("relay.news.test".to_owned()), 1),
        ("{smtp: {host: relay.elsewhere.test}}", ours, Origin::Unknown, 1),
        ("{smtp: {host: 8.8.4.4}}", ours, Origin::Addresses(vec!["8.8.4.4".parse().expect("an address")]), 1),
        ("{smtp: {host: 10.0.0.1}}", ours, Origin::Unknown, 1),
        ("{smtp: {preset: Ses}}", ours, Origin::Unknown, 0),
        ("{smtp: {host: smtp.sendgrid.net}}", ours, Origin::Unknown, 0),
        ("{postmark: {secretRef: {name: x}}}", "{domains: [news.test], returnPath: b.news.test}", Origin::Unknown, 1),
        (
            "{smtp: {host: 10.0.0.1}}",
            "{domains: [news.test], sendingAddresses: ['2001:db8::1']}",
            Origin::Addresses(vec!["2001:db8::1".parse().expect("an address")]),
            1,
        ),
    ] {
        let subject = subject_of(provider, identity).expect("a subject");
        assert_eq!((subject.origin, subject.envelopes.len()), (origin, envelopes), "{provider} {identity}");
    }
    assert_eq!(subject_of("{smtp: {host: a.test}}", "{sendingAddresses: [192.0.2.1]}"), None, "there is no domain to judge");
    // What only the vendor knows is not made up.
    let vendors = subject_of("{postmark: {secretRef: {name: x}}}", "{domains: [news.test], returnPath: b.news.test}").expect("a subject");
    let found = wrong(&World::new("_dmarc.news.test TXT v=DMARC1; p=none"), &vendors);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|words| words.ends_with("that the server's operator or vendor states.")), "{found:?}");
}

#[test]
fn what_is_proposed_offline_makes_everything_good() {
    for identity in [
        IDENTITY.to_owned(),
        IDENTITY.replace("[192.0.2.10]", "[192.0.2.10, '2001:db8::10']"),
        IDENTITY.replace("b.news.test", "bounces.test"),
    ] {
        let subject = subject(&identity);
        let proposed: Vec<Check> = judge(&subject, &mut Answers::offline("offline"));
        assert!(proposed.iter().all(|check| check.verdict == Verdict::NotKnown), "{proposed:?}");
        let mut text = String::new();
        for check in &proposed {
            let _ = writeln!(text, "{} {} {}", check.name, check.kind.as_str(), check.value.as_deref().expect("a value"));
        }
        assert_eq!(wrong(&World::new(&text), &subject), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_printed_record_holds_the_key() {
    let public = public_key(ED25519.as_bytes()).expect("a key");
    let record = dkim::record(&public);
    assert!(zone::line("a.test", crate::dns::RecordType::Txt, &record).ends_with(&format!("TXT \"{record}\"")));
    assert_eq!(dkim::judge(&record, &public), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_server_has_a_bounded_number_of_lookups() {
    let names: Vec<String> = (0..256).map(|number| format!("a.b.c.d.e.f{number}.test")).collect();
    let many = subject(&format!("{{domains: [{}]}}", names.join(", ")));
    let asked = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let looked = settle(&many, |question| {
        assert!(asked.borrow_mut().insert(question), "nothing is asked twice");
        async { (Answer::Missing, std::time::Duration::from_secs(60)) }
    });
    let looked = looked.await;
    assert_eq!((asked.borrow().len(), looked.valid_for.as_secs()), (2_000, 60));
    assert!(looked.checks.iter().any(|check| check.words.contains("more than 2000 lookups")), "what was not looked up is not known");
    // A resolver that never answers holds up nothing for longer than a minute.
    let began = tokio::time::Instant::now();
    let looked = settle(&subject(IDENTITY), |_| std::future::pending()).await;
    assert_eq!(began.elapsed().as_secs(), 60);
    assert!(looked.checks.iter().all(|check| check.verdict == Verdict::NotKnown), "{looked:?}");
}

/// As with connections, what is inside the network and what is not there give the same answer.
#[tokio::test]
async fn a_customer_learns_nothing_of_names_inside() {
    let inside = subject_of("{smtp: {host: 8.8.4.4}}", "{domains: [news.test], returnPath: db.inside.test, sendingAddresses: [10.0.0.7]}");
    let inside = Subject { egress: Egress::PublicOnly, ..inside.expect("a subject") };
    let world = |text: &str| {
        let world = World::new(&format!("_dmarc.news.test TXT v=DMARC1; p=none\ndb.inside.test TXT v=spf1 ip4:10.0.0.7 -all\n{text}"));
        let inside = &inside;
        async move { settle(inside, |question| std::future::ready((world.answer(&question), std::time::Duration::from_secs(60)))).await.checks }
    };
    let nothing = world("").await;
    assert!(nothing.iter().any(|check| check.reason == Reason::ReturnPathNotResolved), "{nothing:?}");
    let there = "db.inside.test A 10.0.0.7\n7.0.0.10.in-addr.arpa PTR db.inside.test\nmail.db.inside.test A 10.0.0.7";
    assert_eq!(world(there).await, nothing);
    // It is the addresses that are held back, and nothing else.
    let public = "db.inside.test A 8.8.8.8";
    assert!(world(public).await.iter().all(|check| check.reason != Reason::ReturnPathNotResolved));
}
