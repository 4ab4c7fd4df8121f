//! SPF by cases: a record, an address, and what becomes of it.

use std::fmt::Write as _;

use super::World;
use crate::dns::spf::{Outcome, evaluate, merged, with};

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Pass => "pass".to_owned(),
        Outcome::Fail => "fail".to_owned(),
        Outcome::SoftFail => "softfail".to_owned(),
        Outcome::Neutral => "neutral".to_owned(),
        Outcome::None => "none".to_owned(),
        Outcome::PermError(why) => format!("permerror: {why}"),
        Outcome::TempError(why) => format!("temperror: {why}"),
    }
}

const WORLD: &str = "
    host.test A 192.0.2.10
    host.test A 192.0.2.11
    host.test AAAA 2001:db8::10
    mx.test MX 10 host.test
    mx.test MX 20 nowhere.test
    d.test MX 10 host.test
    d.test A 192.0.2.99
    pass.test TXT v=spf1 ip4:192.0.2.10 -all
    soft.test TXT v=spf1 ~all
    open.test TXT v=spf1 ?all
    silent.test TXT v=spf1
    two.test TXT v=spf1 -all
    two.test TXT v=spf1 +all
    texts.test TXT v=spf10 -all
    texts.test TXT hello
    texts.test TXT V=SPF1 ip4:192.0.2.0/24 -all
    away.test TXT !
    loop.test TXT v=spf1 include:loop.test -all
    10.2.0.192.in-addr.arpa PTR host.named.test
    11.2.0.192.in-addr.arpa PTR host.named.test
    host.named.test A 192.0.2.10
    192.0.2.10.e.test A 127.0.0.2
    10.2.0.192.in-addr.d.test A 127.0.0.2
    postmaster.e.test A 127.0.0.2
    test-d.e.test A 127.0.0.2
";

#[test]
fn records_are_evaluated_as_rfc_7208_has_it() {
    for (record, ip, wanted) in [
        ("v=spf1 ip4:192.0.2.10 -all", "192.0.2.10", "pass"),
        ("v=spf1 ip4:192.0.2.10 -all", "192.0.2.11", "fail"),
        ("v=spf1 ip4:192.0.2.0/28 ~all", "192.0.2.15", "pass"),
        ("v=spf1 ip4:192.0.2.0/28 ~all", "192.0.2.16", "softfail"),
        ("v=spf1 ip4:0.0.0.0/0", "203.0.113.1", "pass"),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8::1", "pass"),
        ("v=spf1 ip6:2001:db8::/32 -all", "192.0.2.10", "fail"),
        ("v=spf1 -ip4:192.0.2.10 +all", "192.0.2.10", "fail"),
        ("v=spf1 ?all", "192.0.2.10", "neutral"),
        ("v=spf1", "192.0.2.10", "neutral"),
        ("v=spf1 a -all", "192.0.2.99", "pass"),
        ("v=spf1 a:host.test -all", "192.0.2.11", "pass"),
        ("v=spf1 a:host.test -all", "2001:db8::10", "pass"),
        ("v=spf1 a:host.test/24//64 -all", "192.0.2.200", "pass"),
        ("v=spf1 a:host.test/24//64 -all", "2001:db8::ffff", "pass"),
        ("v=spf1 a:host.test//64 -all", "192.0.2.200", "fail"),
        ("v=spf1 mx -all", "192.0.2.10", "pass"),
        ("v=spf1 mx:mx.test -all", "192.0.2.11", "pass"),
        ("v=spf1 mx:mx.test/24 -all", "192.0.2.77", "pass"),
        ("v=spf1 MX:MX.test -ALL", "192.0.2.12", "fail"),
        ("v=spf1 ptr:named.test -all", "192.0.2.10", "pass"),
        ("v=spf1 ptr:named.test -all", "192.0.2.11", "fail"),
        ("v=spf1 ptr:amed.test -all", "192.0.2.10", "fail"),
        ("v=spf1 include:pass.test -all", "192.0.2.10", "pass"),
        ("v=spf1 include:pass.test ?all", "192.0.2.11", "neutral"),
        ("v=spf1 -include:pass.test +all", "192.0.2.10", "fail"),
        ("v=spf1 include:texts.test -all", "192.0.2.10", "pass"),
        ("v=spf1 include:nowhere.test -all", "192.0.2.10", "permerror: nowhere.test, which include: names, has no SPF record"),
        ("v=spf1 include:two.test -all", "192.0.2.10", "permerror: two.test has more than one SPF record"),
        ("v=spf1 include:away.test -all", "192.0.2.10", "temperror: away.test TXT: the name server answered SERVFAIL"),
        ("v=spf1 include:loop.test -all", "192.0.2.10", "permerror: it needs more than 10 lookups"),
        ("v=spf1 redirect=pass.test", "192.0.2.10", "pass"),
        ("v=spf1 redirect=pass.test", "192.0.2.11", "fail"),
        ("v=spf1 redirect=soft.test ?all", "192.0.2.11", "neutral"),
        ("v=spf1 redirect=nowhere.test", "192.0.2.10", "permerror: nowhere.test, which redirect= names, has no SPF record"),
        (
            "v=spf1 redirect=soft.test redirect=open.test",
            "192.0.2.10",
            "permerror: the SPF record of d.test is malformed: `redirect=open.test`",
        ),
        ("v=spf1 exists:%{i}.e.test -all", "192.0.2.10", "pass"),
        ("v=spf1 exists:%{i}.e.test -all", "192.0.2.12", "fail"),
        ("v=spf1 exists:%{ir}.%{v}.%{d} -all", "192.0.2.10", "pass"),
        ("v=spf1 exists:%{l}.e.test -all", "192.0.2.12", "pass"),
        ("v=spf1 exists:%{L}.%{d1r-}-%{o2r} -all", "192.0.2.12", "fail"),
        ("v=spf1 include:%{d1}.%{d1r} -all", "192.0.2.10", "permerror: test.d, which include: names, has no SPF record"),
        ("v=spf1 a:nowhere.test mx:nowhere.test -all", "192.0.2.10", "fail"),
        ("v=spf1 a:n1.test a:n2.test a:n3.test -all", "192.0.2.10", "permerror: more than 2 of its lookups find nothing"),
        ("v=spf1 exp=why.test unknown=x ip4:192.0.2.10 -all", "192.0.2.10", "pass"),
        ("v=spf1 ip4:192.0.2.10/33", "192.0.2.10", "permerror: the SPF record of d.test is malformed: `ip4:192.0.2.10/33`"),
        ("v=spf1 ip4:192.0.2.10/+8", "192.0.2.10", "permerror: the SPF record of d.test is malformed: `ip4:192.0.2.10/+8`"),
        ("v=spf1 ip4:2001:db8::1", "192.0.2.10", "permerror: the SPF record of d.test is malformed: `ip4:2001:db8::1`"),
        ("v=spf1 +ip4:192.0.2.10 bogus -all", "192.0.2.10", "permerror: the SPF record of d.test is malformed: `bogus`"),
        ("v=spf1 all:x", "192.0.2.10", "permerror: the SPF record of d.test is malformed: `all:x`"),
        ("v=spf1 include:", "192.0.2.10", "permerror: the SPF record of d.test is malformed: `include:`"),
        ("v=spf1 exists:%{x}.e.test", "192.0.2.10", "permerror: the macro in `%{x}.e.test` is malformed"),
        ("v=spf1 exists:%{i", "192.0.2.10", "permerror: the macro in `%{i` is malformed"),
    ] {
        let world = World::new(&format!("{WORLD}d.test TXT {record}"));
        let outcome = world.settle(|answers| evaluate(answers, "d.test", ip.parse().ok(), "mail.d.test"));
        assert_eq!(word(&outcome), wanted, "{record} for {ip}");
    }
    let world = World::new(WORLD);
    for (domain, wanted) in
        [("silent.test", "neutral"), ("nothing.test", "none"), ("away.test", "temperror: away.test TXT: the name server answered SERVFAIL")]
    {
        assert_eq!(word(&world.settle(|answers| evaluate(answers, domain, "192.0.2.10".parse().ok(), ""))), wanted, "{domain}");
    }
}

#[test]
fn ten_lookups_are_enough_and_eleven_are_not() {
    for (count, wanted) in [(10, "neutral"), (11, "permerror: it needs more than 10 lookups")] {
        let (mut text, mut record) = (String::new(), "v=spf1".to_owned());
        for number in 0..count {
            let _ = writeln!(text, "i{number}.test TXT v=spf1 -all");
            let _ = write!(record, " include:i{number}.test");
        }
        let world = World::new(&format!("{text}d.test TXT {record}"));
        for ip in [None, "192.0.2.10".parse().ok()] {
            assert_eq!(word(&world.settle(|answers| evaluate(answers, "d.test", ip, ""))), wanted, "{count} for {ip:?}");
        }
    }
}

#[test]
fn what_is_published_is_kept() {
    let permit = |existing: &str| with(existing, &["ip4:192.0.2.10".to_owned(), "a:relay.test".to_owned()]);
    assert_eq!(permit("v=spf1 include:x.test -all"), "v=spf1 ip4:192.0.2.10 a:relay.test include:x.test -all");
    assert_eq!(permit("v=spf1 +ip4:192.0.2.10 a:relay.test ~all"), "v=spf1 +ip4:192.0.2.10 a:relay.test ~all");
    let join = |records: &[&str]| merged(&records.iter().map(|record| (*record).to_owned()).collect::<Vec<_>>());
    assert_eq!(join(&["v=spf1 a mx -all", "v=spf1 mx ip4:192.0.2.10 ~all"]).as_deref(), Some("v=spf1 a mx ip4:192.0.2.10 -all"));
    assert_eq!(join(&["v=spf1 a", "v=spf1 redirect=x.test"]), None);
}
