//! Messages for vendors that interpret a template language in everything they are sent, and cannot be told not to: what a
//! recipient should see must arrive as it was written. Pure.
//!
//! In HTML a brace can be written as a character reference, and in CSS a space after it changes nothing. A subject or a plain
//! text has neither, so such a message is refused, and goes to a different type of server.

use super::structured::{Mailbox, Structured};

/// A vendor's template language.
#[derive(Clone, Copy, Debug)]
pub struct Language {
    /// The vendor's name, for people.
    pub vendor: &'static str,
    /// Whether it would interpret the start of this text, which begins with `{`.
    pub reads: fn(&str) -> bool,
}

impl Language {
    /// Makes a message arrive as it is.
    ///
    /// # Errors
    /// Why it cannot, as a reply for the ledger.
    pub fn guard(&self, message: &mut Structured) -> Result<(), String> {
        let name = |mailbox: &Mailbox| mailbox.name.clone().unwrap_or_default();
        let names: String = [&message.from, &message.to].into_iter().chain(&message.reply_to).map(name).collect::<Vec<_>>().join(" ");
        let headers = message.headers.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ");
        let text = message.text.as_deref().unwrap_or_default();
        for (what, plain) in
            [("the subject", message.subject.as_str()), ("the text", text), ("a name", &names), ("a header field", &headers)]
        {
            if self.first(plain).is_some() {
                return Err(format!(
                    "550 5.6.0 not sent: {} would interpret braces in {what} as its template language; use a different type of server",
                    self.vendor
                ));
            }
        }
        if let Some(html) = &message.html {
            message.html = Some(self.escaped(html));
        }
        Ok(())
    }

    fn first(&self, text: &str) -> Option<usize> {
        text.match_indices('{').map(|(at, _)| at).find(|at| (self.reads)(&text[*at..]))
    }

    /// HTML that shows the same, without anything that the language interprets.
    fn escaped(&self, html: &str) -> String {
        let lower = html.to_ascii_lowercase();
        let mut out = String::with_capacity(html.len());
        let (mut at, mut is_style) = (0, false);
        while at < html.len() {
            // The next start or end of CSS, or the end.
            let border = if is_style { "</style" } else { "<style" };
            let end = lower[at..].find(border).map_or(html.len(), |found| at + found + border.len());
            self.escape(&html[at..end], is_style, &mut out);
            at = end;
            is_style = !is_style;
        }
        out
    }

    fn escape(&self, part: &str, is_style: bool, out: &mut String) {
        let mut is_within = false;
        for (at, c) in part.char_indices() {
            // A brace after one that was replaced belongs to it.
            is_within = c == '{' && (is_within || (self.reads)(&part[at..]));
            match (is_within, is_style) {
                (true, true) => out.push_str("{ "),
                (true, false) => out.push_str("&#123;"),
                (false, _) => out.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::providers::{brevo, elastic_email};

    #[test]
    fn html_shows_the_same_without_what_the_language_reads() {
        for (language, html, wanted) in [
            (&brevo::LANGUAGE, "<p>{{ x }} {% if %} {# no #} {a} {</p>", "<p>&#123;&#123; x }} &#123;% if %} &#123;# no #} {a} {</p>"),
            (&brevo::LANGUAGE, "<style>@media x{#a{b:c}}</style>{{", "<style>@media x{ #a{b:c}}</style>&#123;&#123;"),
            (&brevo::LANGUAGE, "<STYLE>a{{b}</STYLE>{{{é", "<STYLE>a{ { b}</STYLE>&#123;&#123;&#123;é"),
            (
                &elastic_email::LANGUAGE,
                "<a href=\"x{id}\">{name} {\"a\":1} { }</a>",
                "<a href=\"x&#123;id}\">&#123;name} {\"a\":1} { }</a>",
            ),
            (&elastic_email::LANGUAGE, "<style>p{color:red}\nb{\n}</style>", "<style>p{ color:red}\nb{\n}</style>"),
        ] {
            assert_eq!(language.escaped(html), wanted);
        }
    }
}
