//! Texts in Markdown: what people, servers and files say is never markup. Pure.

/// An @ by which nobody is notified: forges look for names in the text that is shown, and here it ends behind the sign.
pub const AT: &str = "&#64;<!-- -->";

/// A text in which Markdown and HTML mean nothing, on one line. What stands in backticks stays code, as messages have commands in them.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    let mut is_code = false;
    for c in text.chars() {
        match c {
            '`' => {
                is_code = !is_code;
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            '<' | '>' | '&' | '*' | '_' | '[' | ']' | '~' | '|' | '\\' | '#' | '@' if !is_code => match c {
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '&' => out.push_str("&amp;"),
                '@' => out.push_str(AT),
                c => out.extend(['\\', c]),
            },
            c => out.push(c),
        }
    }
    if is_code {
        out.push('`');
    }
    out
}

/// The same in a cell of a table, which a bar would end, in code as well.
#[must_use]
pub fn cell(text: &str) -> String {
    let mut out = String::new();
    for (place, part) in escaped(text).split('`').enumerate() {
        if place > 0 {
            out.push('`');
        }
        // What stands between two backticks has an odd number of parts before it.
        if place % 2 == 1 { out.push_str(&part.replace('|', "\\|")) } else { out.push_str(part) }
    }
    out
}

/// A text as code.
#[must_use]
pub fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_is_no_markup_of_a_comment() {
        assert_eq!(
            escaped("a <b>*x*</b> @team [l](u) `mailfleet get_x`"),
            "a &lt;b&gt;\\*x\\*&lt;/b&gt; &#64;<!-- -->team \\[l\\](u) `mailfleet get_x`"
        );
        assert_eq!(escaped("an open ` and\na line"), "an open ` and a line`");
        assert_eq!(escaped("a|b `c|d`"), "a\\|b `c|d`");
        assert_eq!(cell("a|b `c|d` e|f"), "a\\|b `c\\|d` e\\|f");
        assert_eq!(code("a`b"), "`a'b`");
    }
}
