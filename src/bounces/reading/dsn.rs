//! Delivery status notifications (RFC 3464; RFC 6533 for addresses beyond ASCII), well-formed or not. Pure.

use mail_parser::Message;

use super::{
    Action, Kind, Reading, Recipient, content,
    fields::{self, Fields},
    is_of_type, reply,
};
use crate::providers::Status;

/// Recipients of one report that are read.
const RECIPIENTS_MAX: usize = 100;

/// Reads a notification, if the mail is one.
pub fn read(message: &Message<'_>, reading: &mut Reading) -> bool {
    let parts = message.parts.iter().filter(|part| is_of_type(part, &["delivery-status", "global-delivery-status"]));
    let mut text = String::new();
    for part in parts.take(4) {
        text.push_str(&content(part));
        text.push_str("\n\n");
    }
    if text.is_empty() { false } else { read_text(&text, &super::text(message), reading) }
}

/// Reads the fields of a notification; `words` is what it says to people.
pub fn read_text(text: &str, words: &str, reading: &mut Reading) -> bool {
    let sender = reading.addresses.first().cloned().unwrap_or_default();
    let mut recipients: Vec<Recipient> = Vec::new();
    let reports = reports(text);
    let all: Vec<String> = reports.iter().filter_map(|report| report.get("final-recipient").and_then(fields::typed_address)).collect();
    for report in reports {
        let address = ["x-actual-recipient", "final-recipient", "original-recipient"]
            .into_iter()
            .rev()
            .find_map(|name| report.get(name).and_then(fields::typed_address));
        let status = report.get("status").and_then(Status::parse);
        let diagnostic = report.all("diagnostic-code").collect::<Vec<_>>().join(" ");
        let diagnostic = without_type(&diagnostic);
        // Some write the reply as a comment of the status: `5.1.1 (user unknown)`.
        let comment = report.get("status").and_then(|value| value.split_once('(')).map_or("", |(_, comment)| comment.trim_end_matches(')'));
        let mut told = if diagnostic.is_empty() { comment.to_owned() } else { diagnostic.to_owned() };
        let says_little = status.is_none_or(Status::is_generic) && reply::reply_in(&told).is_none_or(|reply| reply.status.is_none());
        if says_little && told.len() < 12 {
            told = format!("{told} {}", about(words, address.as_deref(), &all));
        }
        let action = action(report.get("action"), status, &told);
        let Some(action) = action else { continue };
        let is_hard = action == Action::Failed && reply::is_hard(status, &told, address.as_deref().unwrap_or_default(), &sender);
        recipients.push(Recipient { address, action, detail: reply::detail(status, &told), is_hard });
    }
    recipients.truncate(RECIPIENTS_MAX);
    if recipients.is_empty() {
        return false;
    }
    (reading.kind, reading.recipients) = (Kind::Report, recipients);
    true
}

/// The groups of fields that are about a recipient. Where the empty lines between them are missing, a field that comes again begins
/// the next; where there are too many, what follows belongs to the one before.
fn reports(text: &str) -> Vec<Fields> {
    const OF_RECIPIENT: &[&str] = &["final-recipient", "original-recipient", "x-actual-recipient", "action", "status", "diagnostic-code"];
    let mut reports: Vec<Vec<(String, String)>> = Vec::new();
    for group in Fields::groups(text).take(RECIPIENTS_MAX * 4) {
        let mut begins = group.iter().any(|(name, _)| name == "final-recipient" || name == "original-recipient");
        for (name, value) in group.iter().filter(|(name, _)| OF_RECIPIENT.contains(name)) {
            let is_again = reports.last().is_some_and(|last| name != "diagnostic-code" && last.iter().any(|(known, _)| known == name));
            if reports.is_empty() || begins || is_again {
                reports.push(Vec::new());
                begins = false;
            }
            if let Some(last) = reports.last_mut() {
                last.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    let text = |report: Vec<(String, String)>| report.into_iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>();
    reports.into_iter().filter_map(|report| Fields::groups(&text(report)).next()).collect()
}

/// `smtp; 550 ...` without the type.
fn without_type(diagnostic: &str) -> &str {
    match diagnostic.split_once(';') {
        Some((kind, rest)) if kind.len() < 24 && !kind.trim().contains(' ') => rest.trim(),
        _ => diagnostic.trim(),
    }
}

fn action(told: Option<&str>, status: Option<Status>, words: &str) -> Option<Action> {
    let word = told.unwrap_or_default().trim().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_lowercase();
    match word.as_str() {
        "failed" | "fail" | "failure" | "error" => Some(Action::Failed),
        "delayed" | "delay" | "deferred" => Some(Action::Delayed),
        "delivered" | "deliverable" | "success" => Some(Action::Delivered),
        "relayed" | "expanded" => Some(Action::HandedOn),
        _ => {
            let class = status
                .map(|status| status.class)
                .or(reply::reply_in(words).and_then(|reply| reply.code).map(|code| if code < 500 { 4 } else { 5 }));
            match class? {
                2 => Some(Action::Delivered),
                _ => Some(Action::Failed),
            }
        }
    }
}

/// What a text says about an address: from it to the next of the report's, or everything where it is the only one.
fn about<'a>(words: &'a str, address: Option<&str>, all: &[String]) -> &'a str {
    let from = address.and_then(|address| words.find(address));
    let text = match (from, all.len()) {
        (Some(from), _) => &words[from..],
        (None, 0 | 1) => words,
        (None, _) => return "",
    };
    let others = all.iter().filter(|other| Some(other.as_str()) != address);
    let end = others.filter_map(|other| text.find(other.as_str())).min().unwrap_or(text.len());
    let text = reply::cut(&text[..end], 1000);
    // The fields themselves follow where the parts were not told apart.
    let text = text.split("Reporting-MTA").next().unwrap_or(text);
    reply::reply_in(text).map_or(text, |reply| reply.words)
}
