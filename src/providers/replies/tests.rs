use super::{TABLE, meaning};
use crate::providers::{Answer, Fault, Scope, Stage};

/// The meaning of a reply at a stage, as `Sender`, `Server RelayDenied`, or nothing.
fn read(stage: Stage, reply: &str, sender: &str, recipient: &str) -> String {
    let (code, words) = reply.split_once(' ').unwrap();
    let enhanced =
        words.split(' ').next().filter(|word| word.split('.').count() == 3 && word.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    let answer = Answer { stage, code: code.parse().unwrap(), enhanced, words, sender, recipient };
    match meaning(&answer) {
        None => "nothing".to_owned(),
        Some(meaning) => match meaning.fault {
            Fault::Server => format!("Server {}", meaning.reason),
            Fault::Refused(scope) => format!("{scope:?}"),
        },
    }
}

#[test]
fn addresses_and_host_names_are_not_matched() {
    for (reply, sender, recipient, expected) in [
        ("550 5.7.1 <relay@quota.example>: no", "a@b.example", "relay@quota.example", "nothing"),
        ("550 5.7.1 relay access denied@spam.example is odd", "a@b.example", "u@example.com", "nothing"),
        ("550 5.7.1 spam.virus.example says no to http://too.many.connections/?rate", "a@b.example", "u@example.com", "nothing"),
        ("550 no such user <u@example.com>", "news@example.com", "u@example.com", "Recipient"),
        // The sender is looked for as well, and it is the sender that is not there.
        ("550 no such user <news@example.com>", "news@example.com", "u@example.com", "Sender"),
        ("550 5.1.1 <news@example.com> unknown thing", "news@example.com", "u@example.com", "Sender"),
        ("550 no such user <u@example.com>", "u@example.com", "u@example.com", "Recipient"),
        // A longer address is another one.
        ("550 no such user <more-news@example.com>", "news@example.com", "u@example.com", "Recipient"),
        ("550 no such user <news@example.com.au>", "news@example.com", "u@example.com", "Recipient"),
        // What a next server said of itself is not about us.
        (
            "550 <u@example.com>: undeliverable address: host mx[192.0.2.1] said: 554 relay access denied",
            "a@b.example",
            "u@example.com",
            "Recipient",
        ),
        // No part of a word, and no word that is cut.
        ("550 5.0.0 mispam", "a@b.example", "u@example.com", "nothing"),
        ("554 (#5.1.1) whatever", "a@b.example", "u@example.com", "Recipient"),
    ] {
        assert_eq!(read(Stage::Recipient, reply, sender, recipient), expected, "{reply}");
    }
}

#[test]
fn the_table_is_consistent() {
    let causes: Vec<_> = TABLE.iter().copied().flatten().collect();
    assert!(causes.len() > 40);
    for cause in causes {
        assert!(cause.meaning.advice.ends_with('.') && !cause.title.is_empty(), "{}", cause.title);
        assert!(!cause.lines.is_empty(), "{}", cause.title);
        // Nobody can fix the recipient; only the server ends a session.
        assert!(cause.meaning.fault != Fault::Refused(Scope::Recipient) || !cause.meaning.needs_person, "{}", cause.title);
        assert!(!cause.meaning.ends_session || cause.meaning.fault == Fault::Server, "{}", cause.title);
        for line in cause.lines {
            assert!(!line.source.is_empty(), "{:?}", line.words);
            assert!(!(line.words.is_empty() && line.codes.is_empty() && line.enhanced.is_empty()), "{}: a line that fits all", cause.title);
            for word in line.words {
                assert_eq!(*word, word.to_lowercase(), "{word}");
                assert_eq!(*word, word.trim(), "{word}");
            }
            for code in line.enhanced {
                assert!(code.split('.').all(|part| part.parse::<u16>().is_ok()), "{code}");
            }
        }
    }
}
