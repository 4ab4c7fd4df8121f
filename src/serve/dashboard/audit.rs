//! What changed of all objects, and when. Pure.

use maud::{Markup, html};

use super::{
    moment::{Moment, Past},
    overview::notices,
    parts::{choice, history, search},
    query::List,
};
use crate::resources::{Campaign, Kind as _, Plan, SendingServer};

/// What may have changed.
const THINGS: [&str; 8] = ["Spec", "Object", "Ready", "Probed", "Routed", "IdentityReady", "FeedbackReady", "Completed"];

/// The page.
pub fn page(moment: &Moment, list: &List, past: &Past) -> Markup {
    let kinds = [SendingServer::KIND, Plan::KIND, Campaign::KIND].map(str::to_owned);
    let choices = html! {
        (choice("type", "Kind", "All kinds", &kinds, &list.kind))
        (choice("state", "What", "Everything", &THINGS.map(str::to_owned), &list.state))
    };
    let next = past.history.last().filter(|_| past.has_more).map(|row| List { before: Some(row.id), ..list.clone() });
    html! {
        h1 { "Audit" }
        p.sub { "What changed, and when: specs by their generation and fields, conditions with their cause. Of each object the newest 200 rows are kept. Who changed a spec is in git." }
        (search("/audit", &List { before: None, ..list.clone() }, &choices, "Object"))
        (notices(moment, past))
        @if past.history.is_empty() { p.sub { "Nothing is recorded." } } @else { (history(moment, &past.history, true)) }
        nav.pages aria-label="Pages of the list" {
            @if list.before.is_some() { a href={ "/audit" (List { before: None, ..list.clone() }.query()) } { "Newest" } }
            @if let Some(next) = next { a rel="next" href={ "/audit" (next.query()) } { "Older" } }
        }
    }
}
