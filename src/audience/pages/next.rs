//! Where the next page is, by what came with the last one.

use reqwest::Url;
use serde_json::Value;

use super::Pointer;

/// How the next page is found.
#[derive(Clone, Debug)]
pub enum Next {
    /// By the `Link` header.
    Link,
    /// By a URL in the page.
    Url(Pointer),
    /// By a cursor in the page, which goes into a parameter of the query.
    Cursor(Pointer, String),
    /// By its number in a parameter, from the first on.
    Page(String, u64),
    /// By how many items came before it, in a parameter.
    Offset(String),
}

/// What a page says of the next one.
#[derive(Debug)]
pub(super) struct Leads {
    /// The URL of the page, after redirects.
    pub from: Url,
    /// What its `Link` header names.
    pub link: Option<String>,
    /// The value at the pointer.
    pub value: Value,
}

impl Next {
    /// Where the page says it.
    pub(super) const fn pointer(&self) -> Option<&Pointer> {
        match self {
            Self::Url(pointer) | Self::Cursor(pointer, _) => Some(pointer),
            Self::Link | Self::Page(..) | Self::Offset(_) => None,
        }
    }

    /// The parameter of the query that tells pages apart.
    pub(super) fn parameter(&self) -> Option<&str> {
        match self {
            Self::Cursor(_, parameter) | Self::Page(parameter, _) | Self::Offset(parameter) => Some(parameter),
            Self::Link | Self::Url(_) => None,
        }
    }

    /// Makes a URL that of the first page: where it says nothing else, an API may not begin with the first.
    pub(super) fn begin(&self, url: &mut Url) {
        match self {
            Self::Page(parameter, first) => set(url, parameter, &first.to_string()),
            Self::Offset(parameter) => set(url, parameter, "0"),
            Self::Link | Self::Url(_) | Self::Cursor(..) => {}
        }
    }

    /// The URL after page `number` at `asked`, which had `on_page` of the `items` so far; none where it was the last.
    pub(super) fn after(&self, asked: &Url, leads: &Leads, number: u64, items: u64, on_page: u64) -> Result<Option<Url>, String> {
        let joined = |to: &str| leads.from.join(to).map(Some).map_err(|_| "it leads to something that is not a URL".to_owned());
        let told = match self {
            Self::Link => leads.link.clone(),
            Self::Url(pointer) | Self::Cursor(pointer, _) => text_of(&leads.value, pointer)?,
            Self::Page(..) | Self::Offset(_) => None,
        };
        let with = |parameter: &str, value: &str| {
            let mut url = asked.clone();
            set(&mut url, parameter, value);
            Some(url)
        };
        Ok(match (self, told) {
            (Self::Link | Self::Url(_), Some(to)) => return joined(&to),
            (Self::Cursor(_, parameter), Some(cursor)) => with(parameter, &cursor),
            (Self::Page(parameter, first), _) if on_page > 0 => with(parameter, &(first + number).to_string()),
            (Self::Offset(parameter), _) if on_page > 0 => with(parameter, &items.to_string()),
            _ => None,
        })
    }
}

/// A URL or cursor; none where the page has none.
fn text_of(value: &Value, pointer: &Pointer) -> Result<Option<String>, String> {
    match value {
        Value::Null | Value::Bool(false) => Ok(None),
        Value::String(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Value::Number(number) => Ok(Some(number.to_string())),
        _ => Err(format!("what is at `{pointer}` is neither a text nor a number")),
    }
}

/// Sets a parameter of the query; the others stay as they are written.
fn set(url: &mut Url, parameter: &str, value: &str) {
    let is_it = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        form_urlencoded::parse(name.as_bytes()).next().is_some_and(|(name, _)| name == parameter)
    };
    let query = url.query().unwrap_or_default();
    let mut pairs: Vec<String> = query.split('&').filter(|pair| !pair.is_empty() && !is_it(pair)).map(str::to_owned).collect();
    let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
    pairs.push(format!("{parameter}={value}"));
    url.set_query(Some(&pairs.join("&")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_leads_on_and_ends() {
        let pointer = || Pointer::parse("/next").expect("a pointer");
        let from = || Url::parse("https://api.example/v1/people?limit=2&page=0&a=%20b").expect("a URL");
        let after = |next: &Next, value: Value, link: Option<&str>, on_page| {
            let leads = Leads { from: from(), link: link.map(str::to_owned), value };
            let mut url = from();
            next.begin(&mut url);
            next.after(&url, &leads, 1, 2, on_page).map(|url| url.map(|url| url.to_string().split_off("https://api.example".len())))
        };
        let text = |text: &str| Value::from(text);
        let cases = [
            (Next::Link, Value::Null, Some("/v1/people?c=x"), 2, Ok(Some("/v1/people?c=x"))),
            (Next::Link, Value::Null, None, 2, Ok(None)),
            (Next::Url(pointer()), text("people?c=2"), None, 0, Ok(Some("/v1/people?c=2"))),
            (Next::Url(pointer()), text(""), None, 2, Ok(None)),
            (Next::Url(pointer()), Value::Null, None, 2, Ok(None)),
            (Next::Url(pointer()), Value::from(false), None, 2, Ok(None)),
            (Next::Url(pointer()), serde_json::json!([1]), None, 2, Err("what is at `/next` is neither a text nor a number")),
            (Next::Url(pointer()), text("http://[x"), None, 2, Err("it leads to something that is not a URL")),
            (
                Next::Cursor(pointer(), "page".to_owned()),
                text("a&b=/+"),
                None,
                2,
                Ok(Some("/v1/people?limit=2&a=%20b&page=a%26b%3D%2F%2B")),
            ),
            (Next::Cursor(pointer(), "after".to_owned()), Value::from(17), None, 2, Ok(Some("/v1/people?limit=2&page=0&a=%20b&after=17"))),
            (Next::Cursor(pointer(), "after".to_owned()), Value::Null, None, 2, Ok(None)),
            (Next::Page("page".to_owned(), 1), Value::Null, None, 2, Ok(Some("/v1/people?limit=2&a=%20b&page=2"))),
            (Next::Page("page".to_owned(), 0), Value::Null, None, 2, Ok(Some("/v1/people?limit=2&a=%20b&page=1"))),
            (Next::Page("page".to_owned(), 1), Value::Null, None, 0, Ok(None)),
            (Next::Offset("skip".to_owned()), Value::Null, None, 2, Ok(Some("/v1/people?limit=2&page=0&a=%20b&skip=2"))),
            (Next::Offset("skip".to_owned()), Value::Null, None, 0, Ok(None)),
        ];
        for (next, value, link, on_page, wanted) in cases {
            let shown = format!("{next:?} {value} {link:?}");
            let wanted = wanted.map(|url: Option<&str>| url.map(str::to_owned)).map_err(str::to_owned);
            assert_eq!(after(&next, value, link, on_page), wanted, "{shown}");
        }
    }
}
