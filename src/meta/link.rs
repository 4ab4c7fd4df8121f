//! `Link` headers, by which APIs say where the next page is. Pure.

use http::{HeaderMap, header::LINK};

/// The target of `rel="next"` in `Link` headers (RFC 8288, 3): several links in one field, parameters in any order.
#[must_use]
pub fn next_of(header: &HeaderMap) -> Option<String> {
    header.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|value| {
        let mut rest = value;
        while let Some((_, after)) = rest.split_once('<') {
            let (target, parameters) = after.split_once('>')?;
            let (parameters, after) = up_to(parameters, ',');
            if is_next(parameters) {
                return Some(target.trim().to_owned());
            }
            rest = after;
        }
        None
    })
}

/// What is before a sign outside of quotes, and what is from it on.
fn up_to(text: &str, sign: char) -> (&str, &str) {
    let mut in_quotes = false;
    let found = text.char_indices().find(|(_, character)| {
        in_quotes ^= *character == '"';
        *character == sign && !in_quotes
    });
    text.split_at(found.map_or(text.len(), |(at, _)| at))
}

/// Whether one of a link's relations is the next page.
fn is_next(mut parameters: &str) -> bool {
    while let Some(rest) = parameters.trim_start().strip_prefix(';') {
        let (parameter, after) = up_to(rest, ';');
        if let Some((name, value)) = parameter.split_once('=')
            && name.trim().eq_ignore_ascii_case("rel")
        {
            // A further one counts for nothing (RFC 8288, 3.3).
            let relations = value.trim().trim_matches('"');
            return relations.split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("next"));
        }
        parameters = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_header_names_the_next_page() {
        let cases: &[(&[&str], Option<&str>)] = &[
            (
                &["<https://api.example/p?page=2>; rel=\"next\", <https://api.example/p?page=9>; rel=\"last\""],
                Some("https://api.example/p?page=2"),
            ),
            (&["</p?page=1>; rel=prev; title=\"a, b; rel=next\", </p?page=3>; title=x; REL=NEXT"], Some("/p?page=3")),
            (&["<a>; rel=\"last\"", "<b>; rel=\"chapter next\""], Some("b")),
            (&["<?a,b>; rel=next"], Some("?a,b")),
            (&["<a>; rel=nextish", "<b", "c; rel=next"], None),
            (&[], None),
        ];
        for (fields, wanted) in cases {
            let mut header = HeaderMap::new();
            for field in *fields {
                header.append(LINK, field.parse().expect("a field"));
            }
            assert_eq!(next_of(&header).as_deref(), *wanted, "{fields:?}");
        }
    }
}
