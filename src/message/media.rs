//! Media types of attachments (RFC 2045, 5.1): as the author writes them, or told by a file's name.

/// A media type that a file may have in a message, with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MediaType {
    /// `text/calendar`.
    essence: std::borrow::Cow<'static, str>,
    /// Attributes and values, without quotes.
    parameters: Vec<(String, String)>,
}

/// The file beside an invitation: one that mail programs do not show as a second invitation.
pub(super) const CALENDAR_FILE: MediaType = MediaType { essence: std::borrow::Cow::Borrowed("application/ics"), parameters: Vec::new() };

/// Where the type of a calendar stands.
const CALENDAR: &str = "text/calendar";

impl MediaType {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    fn with_default(mut self, name: &str, value: impl FnOnce() -> Option<String>) -> Self {
        if self.parameter(name).is_none() {
            self.parameters.extend(value().map(|value| (name.to_owned(), value)));
        }
        self
    }

    /// Whether it is a calendar with a method (RFC 6047, 2.4): an invitation, an answer or a cancellation.
    pub fn is_invitation(&self) -> bool {
        self.essence == CALENDAR && self.parameter("method").is_some()
    }

    /// Writes it with its parameters, each on a line of its own.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.essence.as_bytes());
        for (name, value) in &self.parameters {
            out.extend_from_slice(format!(";\r\n {name}=").as_bytes());
            if value.bytes().all(is_token) && !value.is_empty() {
                out.extend_from_slice(value.as_bytes());
            } else {
                out.extend_from_slice(format!("\"{value}\"").as_bytes());
            }
        }
    }
}

/// The type of a file: as it is given, or told by its name; what a calendar's type has to say is completed from its bytes.
///
/// # Errors
/// Why a file of the given type cannot be attached.
pub(super) fn of(given: Option<&str>, filename: &str, bytes: &[u8]) -> Result<MediaType, String> {
    let media = if let Some(given) = given {
        parse(given)?
    } else {
        let extension = filename.rsplit_once('.').map_or("", |(_, extension)| extension);
        let essence = mime_guess::from_ext(extension).first_raw().unwrap_or("application/octet-stream");
        // Messages within messages are not encoded.
        let is_fit = !essence.starts_with("message/") && !essence.starts_with("multipart/");
        MediaType { essence: if is_fit { essence } else { "application/octet-stream" }.into(), parameters: Vec::new() }
    };
    if media.essence == CALENDAR {
        // The parameter and the property must say the same (RFC 6047, 2.4).
        let said = method(bytes);
        if let (Some(given), Some(said)) = (media.parameter("method"), &said)
            && !given.eq_ignore_ascii_case(said)
        {
            return Err(format!("the type says method={given}, and the calendar itself METHOD:{said}; make them agree"));
        }
        return Ok(media.with_default("charset", || Some("utf-8".to_owned())).with_default("method", || said));
    }
    let is_utf8 = media.essence.starts_with("text/") && given.is_none() && std::str::from_utf8(bytes).is_ok();
    Ok(media.with_default("charset", || is_utf8.then(|| "utf-8".to_owned())))
}

/// The METHOD of a calendar (RFC 5545, 3.7.2).
fn method(calendar: &[u8]) -> Option<String> {
    let lines = calendar.split(|byte| *byte == b'\n').take(200).map(<[u8]>::trim_ascii);
    let value = lines.filter_map(|line| line.split_at_checked("METHOD:".len())).find(|(name, _)| name.eq_ignore_ascii_case(b"METHOD:"))?.1;
    let value = std::str::from_utf8(value).ok()?.trim().to_ascii_uppercase();
    (!value.is_empty() && value.len() <= 30 && value.bytes().all(is_token)).then_some(value)
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'&' | b'-' | b'.' | b'^' | b'_' | b'+' | b'*' | b'\'' | b'`' | b'|' | b'~')
}

/// Reads a type with its parameters: `text/calendar; method=REQUEST`.
fn parse(text: &str) -> Result<MediaType, String> {
    let invalid = || format!("`{text}` is not a media type; write it like `application/pdf` or `text/calendar; method=REQUEST`");
    let (essence, mut rest) = text.split_once(';').unwrap_or((text, ""));
    let essence = essence.trim().to_ascii_lowercase();
    let is_whole =
        essence.split_once('/').is_some_and(|(kind, of)| [kind, of].iter().all(|name| !name.is_empty() && name.bytes().all(is_token)));
    if !is_whole {
        return Err(invalid());
    }
    if essence.starts_with("multipart/") || essence.starts_with("message/") {
        return Err(format!(
            "a file of the type `{essence}` must not be encoded (RFC 2046), and so cannot be attached; use `application/octet-stream`"
        ));
    }
    let mut parameters: Vec<(String, String)> = Vec::new();
    while !rest.trim().is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(invalid)?;
        let after = after.trim_start();
        let (value, tail) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(invalid)?,
            None => after.find(';').map_or((after, ""), |at| after.split_at(at)),
        };
        let (name, value, tail) = (name.trim().to_ascii_lowercase(), value.trim(), tail.trim_start());
        let is_fit = value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' || byte == b' ');
        if name.is_empty()
            || !name.bytes().all(is_token)
            || !is_fit
            || value.is_empty()
            || parameters.iter().any(|(known, _)| *known == name)
        {
            return Err(invalid());
        }
        if name == "name" {
            return Err("the name of the file belongs in `filename`".to_owned());
        }
        rest = match tail.strip_prefix(';') {
            Some(more) => more,
            None if tail.is_empty() => "",
            None => return Err(invalid()),
        };
        parameters.push((name, value.to_owned()));
    }
    Ok(MediaType { essence: essence.into(), parameters })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(given: Option<&str>, name: &str, bytes: &str) -> String {
        match of(given, name, bytes.as_bytes()) {
            Ok(media) => {
                let mut out = Vec::new();
                media.write(&mut out);
                String::from_utf8(out).expect("ASCII").replace("\r\n", "")
            }
            Err(why) => format!("! {why}"),
        }
    }

    #[test]
    fn types_are_told_by_the_name_and_kept_as_they_are_given() {
        let invitation = "BEGIN:VCALENDAR\r\nmethod:request\r\n";
        for (given, name, bytes, wanted) in [
            (None, "Bericht.PDF", "", "application/pdf"),
            (None, "a.{{ x }}", "", "application/octet-stream"),
            (None, "README", "", "application/octet-stream"),
            (None, "a.csv", "ä", "text/csv; charset=utf-8"),
            (None, "invite.ics", invitation, "text/calendar; charset=utf-8; method=REQUEST"),
            (None, "holidays.ics", "BEGIN:VCALENDAR", "text/calendar; charset=utf-8"),
            (Some("text/calendar; method=CANCEL"), "x", "", "text/calendar; method=CANCEL; charset=utf-8"),
            (Some("Text/Calendar ; Method=\"request\" "), "x", invitation, "text/calendar; method=request; charset=utf-8"),
            (Some("text/csv; header=present; x=\"a b\""), "x.pdf", "", "text/csv; header=present; x=\"a b\""),
        ] {
            assert_eq!(written(given, name, bytes), wanted, "{given:?} {name}");
        }
        for (given, wanted) in [
            ("pdf", "is not a media type"),
            ("a/", "is not a media type"),
            ("a/b; c", "is not a media type"),
            ("a/b; c=\"d\" e=f", "is not a media type"),
            ("a/b; c=d\r\nX: y", "is not a media type"),
            ("a/b; c=d; C=e", "is not a media type"),
            ("a/b; name=x.pdf", "belongs in `filename`"),
            ("message/rfc822", "must not be encoded"),
            ("multipart/mixed; boundary=x", "must not be encoded"),
            ("text/calendar; method=REPLY", "the calendar itself METHOD:REQUEST"),
        ] {
            let said = written(Some(given), "x", invitation);
            assert!(said.starts_with("! ") && said.contains(wanted), "{given}: {said}");
        }
    }
}
