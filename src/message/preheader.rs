//! The text that inboxes show after the subject: hidden at the start of the HTML body.

use std::fmt::Write as _;

use minijinja::HtmlEscape;

use super::mjml::end_tag;

/// What hides it: from those who show HTML, and from Outlook on Windows.
const OPEN: &str =
    "\n<div style=\"display:none;font-size:1px;line-height:1px;max-height:0;max-width:0;opacity:0;overflow:hidden;mso-hide:all\">";
const CLOSE: &str = "</div>\n";
/// What inboxes take for words without a letter in them: a figure space, a zero-width space and a joiner. Each shows two characters wide.
const FILLER: &str = "&#8199;&#65279;&#847; ";
/// The most characters that an inbox shows of a message; what the preheader leaves of them is filled, so that no body follows it.
const SHOWN_MAX: usize = 250;
/// Fillers on a line: no line of a body may be longer than 998 bytes.
const FILLERS_OF_LINE: usize = 40;

/// The HTML with a preheader at the start of its body. The text is escaped whole; an empty one is left out.
pub(super) fn put(html: String, text: &str) -> String {
    if text.is_empty() {
        return html;
    }
    let at = body_start(&html);
    let mut out = String::with_capacity(html.len() + text.len() + 4096);
    out.push_str(&html[..at]);
    // Writing to a text cannot fail.
    let _ = write!(out, "{OPEN}{}", HtmlEscape(text));
    let fillers = SHOWN_MAX.saturating_sub(text.chars().count()) / 2;
    for filler in 0..fillers {
        if filler.is_multiple_of(FILLERS_OF_LINE) {
            out.push('\n');
        }
        out.push_str(FILLER);
    }
    out.push_str(CLOSE);
    out.push_str(&html[at..]);
    out
}

/// Where what is shown begins: after `<body>`, or after the head of a page that leaves it out.
fn body_start(html: &str) -> usize {
    let bytes = html.as_bytes();
    let (mut position, mut after_head) = (0, 0);
    while let Some(at) = memchr::memchr(b'<', &bytes[position..]) {
        let start = position + at;
        let rest = &bytes[start..];
        let end_of_tag = || tag_end(bytes, start + 1);
        position = if rest.starts_with(b"<!--") {
            // What stands in a comment is for Outlook alone.
            memchr::memmem::find(&rest[4..], b"-->").map_or(bytes.len(), |end| start + 4 + end + 3)
        } else if is_tag(rest, b"body") {
            return end_of_tag();
        } else if let Some(name) = [&b"style"[..], b"script", b"title"].into_iter().find(|name| is_tag(rest, name)) {
            // What is inside these is no markup.
            end_tag(bytes, end_of_tag(), name).unwrap_or(bytes.len())
        } else if rest.starts_with(b"<!") || rest.starts_with(b"<?") || is_tag(rest, b"html") || is_tag(rest, b"/head") {
            after_head = end_of_tag();
            after_head
        } else if [&b"head"[..], b"meta", b"link", b"base", b"/style", b"/script", b"/title", b"noscript", b"/noscript", b"xml", b"/xml"]
            .into_iter()
            .any(|name| is_tag(rest, name))
        {
            end_of_tag()
        } else {
            // An element that is shown: the page has no `<body>`.
            return after_head;
        };
    }
    after_head
}

/// Whether a tag of this name begins a text.
fn is_tag(text: &[u8], name: &[u8]) -> bool {
    let rest = &text[1..];
    rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name))
        && rest.get(name.len()).is_none_or(|next| next.is_ascii_whitespace() || matches!(next, b'>' | b'/'))
}

/// Where a tag ends; a `>` in quotes does not end it.
fn tag_end(bytes: &[u8], from: usize) -> usize {
    let mut quote = None;
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match (quote, byte) {
            (Some(open), _) if open == *byte => quote = None,
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, b'>') => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_where_what_is_shown_begins() {
        for (html, before) in [
            ("<p>Hi</p>", ""),
            ("Hi", ""),
            ("", ""),
            ("<body>Hi", "<body>"),
            ("<BODY\n class='a>b' style=\"c>d\">Hi", "<BODY\n class='a>b' style=\"c>d\">"),
            ("<!doctype html><html lang=de><p>Hi", "<!doctype html><html lang=de>"),
            (
                "<html><head><title><body></title><style>body>p{}</style></head><body><p>Hi",
                "<html><head><title><body></title><style>body>p{}</style></head><body>",
            ),
            ("<html><head><meta charset=utf-8></head><table>", "<html><head><meta charset=utf-8></head>"),
            (
                "<!--[if mso]><body class=\"mso\"><![endif]--><!--[if !mso]><!--><body class=\"other\"><!--<![endif]-->Hi",
                "<!--[if mso]><body class=\"mso\"><![endif]--><!--[if !mso]><!--><body class=\"other\">",
            ),
            ("<tbody><body>", ""),
            ("<!-- never closed <body>", ""),
            ("<style> never closed <body>", ""),
            ("<body", "<body"),
            ("<", ""),
        ] {
            assert_eq!(&html[..body_start(html)], before, "{html}");
        }
    }

    #[test]
    fn no_body_follows_it_and_nothing_of_it_is_markup() {
        let html = put("<html><body><p>Dear Ann</p></body></html>".to_owned(), "<b>Tom & \"Jerry\"</b>");
        let (before, after) = html.split_once("<p>Dear Ann").expect("the body");
        assert!(before.starts_with("<html><body>\n<div style=\"display:none;"), "{before}");
        assert!(before.contains(">&lt;b&gt;Tom &amp; &quot;Jerry&quot;&lt;") && before.ends_with("</div>\n"), "{before}");
        assert_eq!(before.matches(FILLER).count(), (SHOWN_MAX - 20) / 2);
        assert_eq!(after, "</p></body></html>");
        assert!(html.lines().all(|line| line.len() <= 998), "a line that would have to be encoded");
        assert_eq!(put("<p>Hi</p>".to_owned(), ""), "<p>Hi</p>");
        let long = put("<p>Hi</p>".to_owned(), &"ä".repeat(300));
        assert!(!long.contains(FILLER) && long.ends_with("ä</div>\n<p>Hi</p>"), "{long}");
    }
}
