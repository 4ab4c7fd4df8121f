//! Reports of spam (RFC 5965), and those of Outlook.com, which have no form of their own. Pure.

use mail_parser::Message;

use super::{
    Action, Kind, Reading, Recipient, content,
    fields::{self, Fields},
    inner_raw, is_of_type, reply,
};

/// The types by which a recipient, or their provider, says that the message is unwanted (RFC 5965, 7.3; the opt-outs are of its drafts).
const COMPLAINTS: &[&str] = &["abuse", "fraud", "opt-out", "opt-out-list", "miscategorized", "complaint"];

/// Reads a report, if the mail is one.
pub fn read(message: &Message<'_>, header: &Fields, reading: &mut Reading) -> bool {
    if let Some(part) = message.parts.iter().find(|part| is_of_type(part, &["feedback-report"])) {
        let text = content(part);
        for group in Fields::groups(&text).take(4) {
            let Some(kind) = group.get("feedback-type") else { continue };
            let kind = kind.trim().to_ascii_lowercase();
            reading.kind = if COMPLAINTS.contains(&kind.as_str()) { Kind::Complaint } else { Kind::OtherReport };
            reading.addresses.extend(group.all("original-mail-from").flat_map(fields::addresses));
            if reading.kind == Kind::Complaint {
                let address =
                    ["original-rcpt-to", "removal-recipient"].into_iter().find_map(|name| group.get(name)).and_then(fields::typed_address);
                let agent = group.get("user-agent").or(group.get("reporting-mta")).unwrap_or_default();
                reading.recipients.push(complaint(address, &format!("{kind} {agent}")));
            }
            return true;
        }
        // A report whose fields cannot be read says nothing of anybody.
        reading.kind = Kind::OtherReport;
        return true;
    }
    // Outlook.com's Junk Mail Reporting Program: the original as an attachment, and the subject says what it is.
    let is_of_outlook = header.get("from").is_some_and(|from| from.to_ascii_lowercase().contains("staff@hotmail.com"))
        && header.get("subject").is_some_and(|subject| subject.to_ascii_lowercase().starts_with("complaint about message from"));
    if !is_of_outlook {
        return false;
    }
    let inner = message.parts.iter().find_map(|part| inner_raw(message, part));
    let original = inner.map(Fields::of_header).unwrap_or_default();
    let address = original.get("x-hmxmroriginalrecipient").or(original.get("to")).and_then(|value| fields::addresses(value).next());
    (reading.kind, reading.recipients) = (Kind::Complaint, vec![complaint(address, "abuse Outlook.com JMRP")]);
    true
}

fn complaint(address: Option<String>, words: &str) -> Recipient {
    Recipient { address, action: Action::HandedOn, detail: reply::detail(None, words), is_hard: false }
}
