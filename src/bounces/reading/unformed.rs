//! Bounces that follow no form: those of qmail, Exim, Yahoo, Gmail, mail.ru, GMX, Zoho, Domino, old Exchange and Sendmail, DragonFly,
//! and others, in words for people. Pure.
//!
//! They have in common who writes (a mail system), how they begin, that an address stands before what happened to it, and that the
//! original follows; each of these is a list. What a text means is said by the table of replies alone (`reply::is_hard`).

use super::{
    Action, Kind, Reading, Recipient, auto, dsn,
    fields::{self, Fields},
    reply,
};

/// Recipients of one bounce.
const RECIPIENTS_MAX: usize = 20;
/// Lines that are searched for addresses, or for further replies.
const LINES_MAX: usize = 200;

/// Reads a bounce, if the mail is one.
pub fn read(header: &Fields, text: &str, reading: &mut Reading) -> bool {
    let is_of_system = auto::is_of_mailer(header) || reading.is_automatic;
    let lower = lowered(text);
    let begins = OPENINGS.iter().filter_map(|words| lower.find(words)).min();
    let subject = lowered(header.get("subject").unwrap_or_default());
    let has_subject = SUBJECTS.iter().any(|words| subject.contains(words));
    if !is_of_system || begins.is_none() && !has_subject {
        return false;
    }
    // The fields of a notification without the parts that should hold them.
    if let Some(at) = ["reporting-mta:", "final-recipient:", "action: failed"].iter().filter_map(|name| lower.find(name)).min() {
        let end = lower[at..].find("\nreceived:").map_or(text.len(), |end| at + end);
        note_original(&text[at..], reading);
        if dsn::read_text(&text[at..end], text, reading) {
            return true;
        }
    }
    let end = COPIES.iter().filter_map(|words| lower.find(words)).filter(|at| begins.is_none_or(|begins| *at > begins)).min();
    let (report, rest) = text.split_at(end.unwrap_or(text.len()));
    note_original(rest, reading);
    let is_delay = DELAYS.iter().any(|words| lower[..report.len()].contains(words))
        && !GIVEN_UP.iter().any(|words| lower[..report.len()].contains(words));
    let action = if is_delay { Action::Delayed } else { Action::Failed };
    let found = named(header, report, &reading.addresses);
    let sender = reading.addresses.first().cloned().unwrap_or_default();
    let starts: Vec<(usize, &String)> = found.iter().map(|address| (report.find(address.as_str()).unwrap_or(0), address)).collect();
    let mut recipients: Vec<Recipient> = Vec::new();
    for (at, address) in &starts {
        let next = starts.iter().map(|(next, _)| *next).filter(|next| next > at).min().unwrap_or(report.len());
        let mut told = &report[*at..next];
        if found.len() == 1 && reply::reply_in(told).is_none() {
            told = report.trim_start();
        }
        recipients.push(recipient(Some((*address).clone()), action, told, &sender));
    }
    if recipients.is_empty() {
        let from = begins.unwrap_or(0).min(report.len());
        recipients.push(recipient(None, action, &report[from..], &sender));
    }
    (reading.kind, reading.recipients) = (Kind::Report, recipients);
    true
}

fn recipient(address: Option<String>, action: Action, told: &str, sender: &str) -> Recipient {
    let told = reply::cut(told, 2000);
    let (words, code) = match reply::reply_in(told) {
        Some(reply) => (reply.words, true),
        None => (told, false),
    };
    let to = address.as_deref().unwrap_or_default();
    // Where the stage is told it stands before the reply.
    let before = &told[..words.as_ptr().addr() - told.as_ptr().addr()];
    let is_of_mail = code && MAIL_STAGES.iter().any(|stage| before.to_lowercase().contains(stage));
    // Where several replies are told, and one of them has another reason, the others may be about somebody else.
    let others = told.lines().filter(|line| reply::reply_in(line).is_some_and(|reply| reply.code.is_some()));
    let has_other = others.take(LINES_MAX).any(|line| reply::is_other(line, to, sender));
    let is_hard = action == Action::Failed
        && !is_of_mail
        && !has_other
        && reply::is_hard(None, words, to, sender)
        && (code || !is_other_reason(told));
    Recipient { address, action, detail: reply::detail(None, words), is_hard }
}

/// Whether words without a code give a further reason, so that what they say of the address is not all.
fn is_other_reason(told: &str) -> bool {
    let told = told.to_lowercase();
    ["full", "quota", "size limit", "too large", "spam", "virus", "blocked", "policy"].iter().any(|word| told.contains(word))
}

/// The refused command, as Exim and others tell it before the reply.
const MAIL_STAGES: &[&str] = &["after mail from", "after pipelined mail from", "for mail from command", "our mail from"];

/// The addresses that a bounce is about.
fn named(header: &Fields, report: &str, own: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let add = |found: &mut Vec<String>, address: String| {
        if found.len() < RECIPIENTS_MAX && !found.contains(&address) && !own.contains(&address) {
            found.push(address);
        }
    };
    header.all("x-failed-recipients").flat_map(fields::addresses).for_each(|address| add(&mut found, address));
    if found.is_empty() {
        let is_end = |c: char| c.is_whitespace() || "<>,;\"'()[]".contains(c);
        for line in report.lines().take(LINES_MAX) {
            let line = line.trim_start_matches(|c: char| c.is_whitespace() || "<>\"'*-•:".contains(c));
            let rest = line.trim_start_matches("to").trim_start_matches("To").trim_start_matches([':', ' ', '<']);
            let first = [line, rest].into_iter().find_map(|text| text.split(is_end).next().and_then(fields::address));
            if let Some(address) = first {
                add(&mut found, address);
            }
        }
    }
    if found.is_empty() {
        let ours = |address: &String| own.contains(address) || address.to_lowercase().starts_with("mailer-daemon@");
        found.extend(
            report.lines().take(LINES_MAX).flat_map(|line| fields::addresses(line).collect::<Vec<_>>()).find(|address| !ours(address)),
        );
    }
    found
}

/// Message-ID and return path of a header that follows in the text.
fn note_original(text: &str, reading: &mut Reading) {
    if reading.original_id.is_some() {
        return;
    }
    for group in Fields::groups(text).take(6) {
        reading.addresses.extend(group.all("return-path").flat_map(fields::addresses));
        if let Some(id) = group.get("message-id").and_then(fields::message_id) {
            reading.original_id = Some(id);
            return;
        }
    }
}

/// In lower case, byte for byte: what was found there is at the same place in the text.
fn lowered(text: &str) -> String {
    text.chars().map(|c| c.to_lowercase().next().filter(|lower| lower.len_utf8() == c.len_utf8()).unwrap_or(c)).collect()
}

/// How texts begin, in lower case.
const OPENINGS: &[&str] = &[
    // qmail and its kin, Yahoo, Courier
    "wasn't able to deliver your message",
    "unable to deliver your message",
    "unable to deliver message to the following",
    "not able to deliver",
    "could not deliver",
    "couldn't be delivered",
    // Exim, mail.ru, GMX, Zoho, 1&1
    "could not be delivered",
    "cannot be delivered",
    "following address(es) failed",
    "following address failed",
    "following addresses failed",
    // Gmail, Google Workspace, Google Groups, Apple, MessageLabs
    "delivery to the following recipient",
    "delevery to the following recipient",
    "wasn't delivered to",
    "message not delivered",
    "delivery has failed",
    "delivery failed",
    "failed to deliver",
    "failure to deliver",
    // Sendmail
    "had permanent fatal errors",
    "had delivery errors",
    "had delivery problems",
    "transcript of session follows",
    // Exchange 5.5 and 2003, Domino, Notes
    "did not reach the following recipient",
    "was not delivered to",
    "not delivered to the following",
    // DragonFly, OpenSMTPD, others
    "has not yet been delivered",
    "were incorrectly constructed",
    "an error has occurred while attempting to deliver",
    "no valid recipients were found",
    "has delayed",
    "there was an error delivering your mail",
    "unable to deliver",
    "we had trouble delivering",
    "was rejected by a remote mail server",
    "an error occurred while trying to deliver",
    "undeliverable",
    "was undeliverable",
    "has been rejected",
    "returned mail",
    "recipients of your message",
    "recipients of the message",
    // German, French, Spanish, Italian, Portuguese, Dutch, Polish, Russian
    "konnte nicht zugestellt werden",
    "nicht zugestellt werden",
    "fehler bei der nachrichtenzustellung",
    "n'a pas pu être remis",
    "n'a pas pu etre remis",
    "échec de la remise",
    "no se pudo entregar",
    "no se ha podido entregar",
    "impossibile recapitare",
    "recapito non riuscito",
    "não pôde ser entregue",
    "não foi possível entregar",
    "kon niet worden bezorgd",
    "nie można dostarczyć",
    "nie może zostać dostarczona",
    "не может быть доставлено",
    "не удалось доставить",
    // Japanese, Chinese, Korean
    "配信できません",
    "配信されませんでした",
    "送信できませんでした",
    "お届けできません",
    "无法投递",
    "无法送达",
    "未能送达",
    "无法发送",
    "배달하지 못",
];

/// Subjects of bounces, in lower case.
const SUBJECTS: &[&str] = &[
    "undeliver",
    "failure notice",
    "delivery failure",
    "delivery status notification",
    "mail delivery failed",
    "delivery failed",
    "delivery problem",
    "returned mail",
    "mail system error",
    "returned to sender",
    "message could not be delivered",
    "unzustellbar",
    "non remis",
    "no entregable",
    "non recapitabile",
    "onbestelbaar",
    "niedostarczalne",
    "недоставлен",
];

/// Where the original begins, in lower case, at the beginning of a line.
const COPIES: &[&str] = &[
    "\n--- below this line is a copy",
    "\n------ this is a copy",
    "\n----- original message",
    "\n---- original message",
    "\n--- original message",
    "\n--- the header of the original",
    "\n--- message header",
    "\n----- unsent message",
    "\n----- message header follows",
    "\n   ----- original message",
    "\n   ----- unsent message",
    "\n  ----- unsent message",
    "\nmessage headers follow",
    "\noriginal message headers",
    "\noriginal message follows",
    "\noriginal headers",
    "\nthe original message follows",
    "\nthe following is a copy",
    "\nbelow is a copy",
    "\nbelow this line is a copy",
    "\nfinal-log-id:",
    "\nreturned message follows",
    "\nhere is a copy of the original",
    "\n--------- message body",
    "\nreceived:",
    "\nreturn-path:",
    "\n  received:",
    "\ndkim-signature:",
];

/// What is only late, in lower case.
const DELAYS: &[&str] = &[
    "will be retried",
    "will be re-attempted",
    "no action is required",
    "will keep trying",
    "still be trying",
    "still trying",
    "continue trying",
    "continue to try",
    "warning message only",
    "delivery incomplete",
    "has not yet been delivered",
    "have not yet been delivered",
    "delivery is delayed",
    "message is delayed",
    "do not need to resend",
    "you don't need to resend",
    "temporary problem delivering",
    "delivery attempts will continue",
    "wird weiterhin versucht",
];

/// What is certainly over, in lower case.
const GIVEN_UP: &[&str] = &[
    "i've given up",
    "gave up",
    "giving up",
    "given up",
    "permanent error",
    "failed permanently",
    "permanent failure",
    "no longer be retried",
    "will not be retried",
];
