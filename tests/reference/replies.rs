//! docs/replies.md, made from the table of replies.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use mailfleet::{
    providers::{
        Fault, Scope, Stage,
        replies::{Cause, Line, TABLE},
    },
    resources::Reason,
};

use super::{meaning_and_deed, words};

const PAGE: &str = "docs/replies.md";

/// What a cause is about, as a heading and in a sentence.
const ABOUT: &[(Fault, &str, &str)] = &[
    (Fault::Server, "The server", "The message was not accepted and goes to another server; this one is probed, or paused."),
    (
        Fault::Refused(Scope::Sender),
        "The sender at this server",
        "The campaign continues through its other servers, and its condition says why.",
    ),
    (
        Fault::Refused(Scope::Content),
        "The content at this server",
        "The campaign continues through its other servers, and its condition says why.",
    ),
    (Fault::Refused(Scope::Message), "This one message", "It goes to a server that can carry it, and is rejected only when none can."),
    (Fault::Refused(Scope::Recipient), "The recipient", "5yz rejects the recipient; 4yz is retried later, and counts as an attempt."),
    (Fault::Refused(Scope::Unclear), "Unclear", "It counts against the server for this campaign; by itself it rejects no recipient."),
];

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Greeting => "greeting",
        Stage::Hello => "EHLO",
        Stage::Login => "AUTH",
        Stage::Mail => "MAIL",
        Stage::Recipient => "RCPT",
        Stage::Content => "content",
        Stage::Api => "API",
    }
}

fn stages(line: &Line) -> String {
    let names: Vec<&str> = line.stages.iter().copied().map(stage).collect();
    match names.len() {
        0 => "any".to_owned(),
        6 if !line.stages.contains(&Stage::Api) => "any of SMTP".to_owned(),
        _ => names.join(", "),
    }
}

fn codes(line: &Line) -> String {
    let class = |code: &u16| if *code < 10 { format!("{code}yz") } else { code.to_string() };
    let enhanced = |code: &&str| if code.matches('.').count() == 1 { format!("x.{code}") } else { (*code).to_owned() };
    let all: Vec<String> = line.codes.iter().map(class).chain(line.enhanced.iter().map(enhanced)).collect();
    all.join(", ")
}

fn fragments(line: &Line) -> String {
    let said: Vec<String> = line.words.iter().filter(|word| !word.starts_with('!')).map(|word| format!("`{word}`")).collect();
    let unsaid: Vec<String> = line.words.iter().filter_map(|word| word.strip_prefix('!')).map(|word| format!("not `{word}`")).collect();
    said.into_iter().chain(unsaid).collect::<Vec<_>>().join(" and ").replace('|', "\\|")
}

fn section(cause: &Cause, out: &mut String) {
    let (first, rest) = cause.title.split_at(1);
    write!(out, "\n### {}{rest}\n\n", first.to_uppercase()).expect("a string");
    if cause.meaning.fault != Fault::Refused(Scope::Recipient) && cause.meaning.fault != Fault::Refused(Scope::Message) {
        let person = if cause.meaning.needs_person { " Only a person can fix it." } else { "" };
        writeln!(out, "Reason `{}`.{person}", cause.meaning.reason).expect("a string");
    }
    writeln!(out, "{}", cause.meaning.advice.replace(". ", ".\n")).expect("a string");
    if let Some(after) = cause.meaning.retry_after {
        writeln!(out, "It is retried after {} s.", after.as_secs()).expect("a string");
    }
    if cause.meaning.ends_session {
        out.push_str("If the connection has accepted anything, a new one is opened, and no attempt is counted.\n");
    }
    out.push_str("\n| words | codes | stage | source |\n|---|---|---|---|\n");
    for line in cause.lines {
        writeln!(out, "| {} | {} | {} | {} |", fragments(line), codes(line), stages(line), line.source.replace('|', "\\|"))
            .expect("a string");
    }
}

fn page() -> String {
    let causes: Vec<&Cause> = TABLE.iter().copied().flatten().collect();
    let mut out = format!(
        "# Server replies and their meaning\n\n\
         The words and the enhanced status code (RFC 3463) of a reply say more about who is at fault than its code and stage: Postfix delays refusals of the client, its EHLO name and the sender until RCPT, and vendors refuse the sender after the content.\n\
         Mailfleet therefore looks refusals up in a table of {} causes and {} lines; the first match decides.\n\
         This page is made from that table.\n\n\
         A line matches when all its words occur at word boundaries, in any case, and its code and stage match.\n\
         `*` matches the rest of a word, and `{{sender}}`, `{{recipient}}` and `{{address}}` stand for the addresses that a reply quotes; other addresses, host names and links are ignored.\n\
         `x.1.8` stands for 4.1.8 and 5.1.8.\n\n\
         A refusal that matches no line is judged by its stage: at MAIL it is about the sender, 4yz at RCPT or after the content is about the recipient, and 5yz there is unclear, so that a configuration mistake does not reject every recipient of a campaign.\n\
         During connection setup it is about the server.\n\n\
         | reason | meaning | what to do |\n|---|---|---|\n",
        causes.len(),
        causes.iter().map(|cause| cause.lines.len()).sum::<usize>(),
    );
    let used: BTreeSet<&str> = causes.iter().map(|cause| cause.meaning.reason.as_str()).collect();
    let all = words::<Reason>();
    for reason in Reason::ALL.iter().filter(|reason| used.contains(reason.as_str())) {
        let about = &all.iter().find(|(word, _)| word == reason.as_str()).expect("its words").1;
        let (meaning, deed) = meaning_and_deed(about);
        writeln!(out, "| `{reason}` | {meaning}. | {deed} |").expect("a string");
    }
    for (fault, heading, what) in ABOUT {
        write!(out, "\n## {heading}\n\n{what}\n").expect("a string");
        causes.iter().filter(|cause| cause.meaning.fault == *fault).for_each(|cause| section(cause, &mut out));
    }
    out
}

#[test]
fn the_committed_page_of_replies_is_the_tables() {
    let now = page();
    for cause in TABLE.iter().copied().flatten() {
        assert!(ABOUT.iter().any(|(fault, ..)| *fault == cause.meaning.fault), "{} is in no section", cause.title);
    }
    if fs::read_to_string(PAGE).unwrap_or_default() != now {
        fs::write(PAGE, now).expect("the file");
        panic!("{PAGE} was stale and is rewritten; commit it");
    }
}
