//! Mautic's tokens as templates of Jinja. Pure.

use std::collections::BTreeSet;

use super::super::gotemplate::{NOT_CARRIED_OVER, comment, literal, quoted};

/// A text with tokens as a template, and what is to be said of it.
#[derive(Debug, Default)]
pub struct Translated {
    /// The template.
    pub text: String,
    /// What was carried over with a doubt, each with its line.
    pub doubts: Vec<(usize, String)>,
    /// What was not carried over.
    pub lost: Vec<(usize, String)>,
}

/// What tokens may use.
pub struct Known<'a> {
    /// The columns of contacts.
    pub has_column: &'a dyn Fn(&str) -> bool,
    /// The text of `{unsubscribe_text}`, with the link as `|URL|`.
    pub unsubscribe_text: &'a str,
    /// The subject as a template, for `{subject}`.
    pub subject: &'a str,
    /// The columns that were used.
    pub columns: BTreeSet<String>,
    /// Whether a link for unsubscribing is printed.
    pub unsubscribes: bool,
}

/// Tokens with a value that Mautic makes while it sends.
const OTHERS: [&str; 10] =
    ["pagelink", "assetlink", "dynamiccontent", "form", "focus", "trackable", "companyfield", "ownerfield", "leadfield", "pagetitle"];
/// Tokens without one.
const PLAIN: [&str; 8] =
    ["unsubscribe_url", "unsubscribe_text", "dnc_url", "webview_url", "webview_text", "signature", "subject", "tracking_pixel"];

/// The longest token, bytes.
const TOKEN_MAX: usize = 2_000;

/// Translates a text.
pub fn translate(source: &str, is_html: bool, known: &mut Known<'_>) -> Translated {
    let mut out = Translated::default();
    let mut rest = source;
    let mut line = 1;
    while let Some((at, open, close)) = next(rest) {
        let (before, after) = rest.split_at(at);
        line += before.matches('\n').count();
        out.text.push_str(&literal(before));
        let inner_end = after[open..].find(close).unwrap_or_default();
        let inner = &after[open..open + inner_end];
        rest = &after[open + inner_end + close.len()..];
        token(inner, is_html, line, known, &mut out);
        line += inner.matches('\n').count();
    }
    out.text.push_str(&literal(rest));
    out
}

/// The next token: where it begins, how long its opening is, and how it is closed.
fn next(text: &str) -> Option<(usize, usize, &'static str)> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find(['{', '%'])?;
        let (open, close) = if text[at..].starts_with('{') {
            (1, "}")
        } else if text[at..].starts_with("%7B") {
            (3, "%7D")
        } else {
            from = at + 1;
            continue;
        };
        let rest = &text[at + open..];
        let rest = &rest[..rest.floor_char_boundary(TOKEN_MAX)];
        let end = rest.find(close);
        let is_token = end.is_some_and(|end| {
            let name = rest[..end].split('=').next().unwrap_or_default();
            let has_value = rest[..end].contains('=');
            if has_value { name == "contactfield" || OTHERS.contains(&name) } else { PLAIN.contains(&name) }
        });
        if is_token {
            return Some((at, open, close));
        }
        from = at + open;
    }
}

fn token(inner: &str, is_html: bool, line: usize, known: &mut Known<'_>, out: &mut Translated) {
    let lose = |out: &mut Translated, why: String| {
        out.text.push_str(&comment(&format!("not carried over: {why}")));
        out.text.push_str(&format!("{{{{ {NOT_CARRIED_OVER} }}}}"));
        out.lost.push((line, why));
    };
    let (name, value) = inner.split_once('=').unwrap_or((inner, ""));
    match name {
        "contactfield" => {
            let (field, otherwise) = value.split_once('|').unwrap_or((value, ""));
            let is_name = !field.is_empty() && field.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !is_name || !(known.has_column)(field) {
                return lose(out, format!("`{{{inner}}}`: contacts have no field `{field}`"));
            }
            if matches!(otherwise, "date" | "time" | "datetime") {
                return lose(out, format!("`{{{inner}}}`: a date in Mautic's format"));
            }
            known.columns.insert(field.to_owned());
            out.text.push_str(&match otherwise {
                "" => format!("{{{{ {field}|default(\"\", true) }}}}"),
                "true" => format!("{{{{ {field}|default(\"\", true)|urlencode }}}}"),
                _ => format!("{{{{ {field}|default({}, true) }}}}", quoted(otherwise)),
            });
            if is_html {
                out.doubts.push((line, "values are escaped as HTML here; Mautic writes them as they are".to_owned()));
            }
        }
        "unsubscribe_url" | "dnc_url" => {
            known.unsubscribes = true;
            out.text.push_str("{{ unsubscribe_url }}");
        }
        "unsubscribe_text" => {
            known.unsubscribes = true;
            out.text.push_str(&literal(known.unsubscribe_text).replace("|URL|", "{{ unsubscribe_url }}"));
        }
        "subject" => out.text.push_str(known.subject),
        "tracking_pixel" => out.doubts.push((line, "opens are not counted".to_owned())),
        "webview_url" | "webview_text" => lose(out, format!("`{{{inner}}}`: there is no page with the message")),
        _ => lose(out, format!("`{{{inner}}}`: Mautic makes this while it sends")),
    }
}
