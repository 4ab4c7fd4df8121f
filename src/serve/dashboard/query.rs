//! Which page is asked for: paths and queries, read and written. Everything that a list shows is in its address. Pure.

use form_urlencoded::Serializer;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::resources::Key;

/// The characters of a search.
const TEXT_MAX: usize = 100;
/// What is written as it is in a part of a path.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// What there is, at a glance.
    Overview,
    /// The list of servers.
    Servers(List),
    /// One server.
    Server(Key),
    /// The list of plans.
    Plans(List),
    /// One plan.
    Plan(Key),
    /// The list of campaigns.
    Campaigns(List),
    /// One campaign.
    Campaign(Key),
    /// What changed, and when.
    Audit(List),
}

/// What of a list is shown, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Part of a name.
    pub text: String,
    /// One type of server, or kind of object.
    pub kind: String,
    /// One state, or one thing that changed.
    pub state: String,
    /// The column by which it is sorted; `-` before it turns the order round.
    pub sort: String,
    /// Which page, from 1.
    pub page: usize,
    /// Of the audit, only rows before this one.
    pub before: Option<i64>,
}

impl List {
    fn read(query: &str) -> Self {
        let mut list = Self { page: 1, ..Self::default() };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value: String = value.trim().chars().take(TEXT_MAX).collect();
            match &*name {
                "q" => list.text = value,
                "type" => list.kind = value,
                "state" => list.state = value,
                "sort" => list.sort = value,
                "page" => list.page = value.parse().unwrap_or(1).max(1),
                "before" => list.before = value.parse().ok(),
                _ => {}
            }
        }
        list
    }

    /// The query, `?` included; nothing where all is as usual.
    pub fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        for (name, value) in [("q", &self.text), ("type", &self.kind), ("state", &self.state), ("sort", &self.sort)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if self.page > 1 {
            query.append_pair("page", &self.page.to_string());
        }
        if let Some(before) = self.before {
            query.append_pair("before", &before.to_string());
        }
        let query = query.finish();
        if query.is_empty() { query } else { format!("?{query}") }
    }

    /// Whether a name contains the search.
    pub fn has(&self, key: &Key) -> bool {
        self.text.is_empty() || key.to_string().to_lowercase().contains(&self.text.to_lowercase())
    }

    /// The column by which it is sorted, and whether the other way round.
    pub fn order(&self) -> (&str, bool) {
        self.sort.strip_prefix('-').map_or((&self.sort, false), |column| (column, true))
    }

    /// The same list, sorted by a column, or the other way round where it is already.
    pub fn sorted_by(&self, column: &str) -> Self {
        let sort = if self.sort == column { format!("-{column}") } else { column.to_owned() };
        Self { sort, page: 1, ..self.clone() }
    }

    /// Another page of it.
    pub fn at(&self, page: usize) -> Self {
        Self { page, ..self.clone() }
    }
}

impl Route {
    /// Reads what was asked for; `None` where there is no such page.
    pub fn read(target: &str) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let key = |namespace: &str, name: &str| {
            let part = |text: &str| percent_decode_str(text).decode_utf8().ok().filter(|text| !text.is_empty()).map(String::from);
            Some(Key::new(part(namespace)?, part(name)?))
        };
        Some(match parts[..] {
            [""] => Self::Overview,
            ["servers"] => Self::Servers(List::read(query)),
            ["servers", namespace, name] => Self::Server(key(namespace, name)?),
            ["plans"] => Self::Plans(List::read(query)),
            ["plans", namespace, name] => Self::Plan(key(namespace, name)?),
            ["campaigns"] => Self::Campaigns(List::read(query)),
            ["campaigns", namespace, name] => Self::Campaign(key(namespace, name)?),
            ["audit"] => Self::Audit(List::read(query)),
            _ => return None,
        })
    }

    /// Path and query, in the one form that the page has.
    pub fn target(&self) -> String {
        let of = |kind: &str, key: &Key| format!("/{kind}/{}/{}", part(&key.namespace), part(&key.name));
        match self {
            Self::Overview => "/".to_owned(),
            Self::Servers(list) => format!("/servers{}", list.query()),
            Self::Server(key) => of("servers", key),
            Self::Plans(list) => format!("/plans{}", list.query()),
            Self::Plan(key) => of("plans", key),
            Self::Campaigns(list) => format!("/campaigns{}", list.query()),
            Self::Campaign(key) => of("campaigns", key),
            Self::Audit(list) => format!("/audit{}", list.query()),
        }
    }
}

fn part(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

/// The address of an object's page, by its kind.
pub fn object(kind: &str, key: &Key) -> String {
    match kind {
        "SendingServer" => Route::Server(key.clone()).target(),
        "Plan" => Route::Plan(key.clone()).target(),
        _ => Route::Campaign(key.clone()).target(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_written_as_it_is_read() {
        for (target, written) in [
            ("/", "/"),
            ("/servers", "/servers"),
            ("/servers?q=eu+%26&state=Active&sort=-name&page=3", "/servers?q=eu+%26&state=Active&sort=-name&page=3"),
            ("/servers?page=0&x=y", "/servers"),
            ("/servers/shop/relay", "/servers/shop/relay"),
            ("/campaigns/shop/a%2Fb", "/campaigns/shop/a%2Fb"),
            ("/plans/ops/pro", "/plans/ops/pro"),
            ("/audit?type=Campaign&before=17", "/audit?type=Campaign&before=17"),
        ] {
            let route = Route::read(target).unwrap_or_else(|| panic!("{target}"));
            assert_eq!(route.target(), written);
            assert_eq!(Route::read(written), Some(route));
        }
        for target in ["", "servers", "/nothing", "/servers/", "/servers/a/", "/servers/a/b/c", "//evil.example", "/campaigns/%ff/x"] {
            assert_eq!(Route::read(target), None, "{target}");
        }
        let Some(Route::Servers(list)) = Route::read(&format!("/servers?q={}", "x".repeat(9999))) else { panic!("a list") };
        assert_eq!(list.text.len(), TEXT_MAX);
        assert_eq!((list.sorted_by("name").sort, list.sorted_by("name").sorted_by("name").sort), ("name".into(), "-name".into()));
    }
}
