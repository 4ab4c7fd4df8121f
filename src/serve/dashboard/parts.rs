//! What pages are made of: their frame, tables, states, meters. Pure.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    moment::Moment,
    numbers::part,
    query::{List, object},
};
use crate::{
    ledger::HistoryRow,
    meta::bound::{grouped, shortened},
    present::Table,
    resources::{Condition, ConditionStatus, ConditionType, Key, Reason, campaign::CampaignState, sending_server::ServerState},
};

/// Rows of a list on one page.
pub const ROWS_MAX: usize = 50;

/// The characters of a message in the history.
const HISTORY_CHARS_MAX: usize = 600;

/// The pages that stand in the head of each.
const PLACES: [(&str, &str); 5] =
    [("/", "Overview"), ("/servers", "Servers"), ("/campaigns", "Campaigns"), ("/plans", "Plans"), ("/audit", "Audit")];

/// What a whole page needs beside its content.
pub struct Frame<'a> {
    /// The title.
    pub title: &'a str,
    /// Its address.
    pub target: &'a str,
    /// What identifies its content, for updates.
    pub version: &'a str,
    /// What identifies style and script.
    pub assets: &'a str,
    /// Whether one can sign out.
    pub has_login: bool,
}

/// A whole page.
pub fn page(frame: &Frame<'_>, content: &str) -> String {
    let Frame { title, target, version, assets, has_login } = frame;
    let here = |path: &str| if path == "/" { *target == "/" } else { target.starts_with(path) };
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) " · Mailfleet" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" type="image/svg+xml" href={ "/assets/icon.svg?v=" (assets) };
                link rel="stylesheet" href={ "/assets/style.css?v=" (assets) };
                script src={ "/assets/live.js?v=" (assets) } defer {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    a.brand href="/" { "Mailfleet" }
                    nav aria-label="Pages" {
                        @for (path, name) in PLACES {
                            a href=(path) aria-current=[here(path).then_some("page")] { (name) }
                        }
                    }
                    @if !version.is_empty() {
                        p #live .live role="status" data-target=(target) data-version=(version) { a href=(target) { "Reload" } }
                    }
                    @if *has_login {
                        form.out method="post" action="/logout" { button type="submit" { "Sign out" } }
                    }
                }
                main #content tabindex="-1" { (PreEscaped(content)) }
            }
        }
    };
    markup.into_string()
}

/// How good something is: told by shape and word, and by colour as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Under way.
    Busy,
    /// It waits, or is not known.
    Idle,
    /// A person should look.
    Warn,
    /// It does not work.
    Bad,
}

impl Tone {
    const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// A state: its shape and its word.
pub fn badge(tone: Tone, word: &str) -> Markup {
    html! {
        span.badge.(tone.class()) {
            svg viewBox="0 0 10 10" width="10" height="10" aria-hidden="true" {
                @match tone {
                    Tone::Good => circle cx="5" cy="5" r="4.5" {},
                    Tone::Busy => path d="M1 0.5 L9.5 5 L1 9.5 Z" {},
                    Tone::Idle => circle.hollow cx="5" cy="5" r="3.7" {},
                    Tone::Warn => path d="M5 0.5 L9.8 9.5 L0.2 9.5 Z" {},
                    Tone::Bad => rect x="0.8" y="0.8" width="8.4" height="8.4" {},
                }
            }
            (word)
        }
    }
}

/// A server's state. One whose first probe has not ended is neither good nor bad.
pub fn server_state(state: ServerState, is_pending: bool) -> Markup {
    match state {
        ServerState::Active => badge(Tone::Good, "Active"),
        ServerState::Inactive => badge(if is_pending { Tone::Idle } else { Tone::Bad }, "Inactive"),
    }
}

/// A campaign's state.
pub fn campaign_state(state: CampaignState) -> Markup {
    let tone = match state {
        CampaignState::Completed => Tone::Good,
        CampaignState::Sending => Tone::Busy,
        CampaignState::Scheduled | CampaignState::Waiting => Tone::Idle,
        CampaignState::Suspended => Tone::Warn,
        CampaignState::Stopped => Tone::Bad,
    };
    badge(tone, &format!("{state:?}"))
}

/// The status of a condition: whether true is good depends on what it is about.
fn condition_status(kind: &str, status: &str, reason: &str) -> Markup {
    let is_start = Reason::from_name(reason).is_some_and(Reason::is_of_start);
    let is_bad_news = ["Stalled", "RefusedByServer", "NamespacePaused"].contains(&kind);
    let tone = match (status, is_bad_news) {
        // Nothing is known yet, or it is on its way.
        ("False", false) if is_start || kind == "Completed" => Tone::Idle,
        ("True", false) | ("False", true) => Tone::Good,
        ("True", true) => Tone::Bad,
        ("False", false) if ["Ready", "Accepted", "Probed", "Routed"].contains(&kind) => Tone::Bad,
        ("False", false) => Tone::Warn,
        _ => Tone::Idle,
    };
    badge(tone, status)
}

/// Conditions in words, as `mailfleet get` has them.
pub fn conditions(conditions: &[Condition]) -> Markup {
    html! {
        (scroll("Conditions", &html! {
            table.stack {
                thead { tr { th scope="col" { "Condition" } th scope="col" { "Status" } th scope="col" { "Reason" } th scope="col" { "Message" } th scope="col" { "Since (UTC)" } } }
                tbody {
                    @for condition in conditions {
                        @let (kind, status) = (format!("{:?}", condition.kind), format!("{:?}", condition.status));
                        tr {
                            th scope="row" { (kind) }
                            // That it is being worked on, or stands still, is no news beside `Ready`.
                            td { @if condition.kind == ConditionType::Reconciling { (badge(if condition.status == ConditionStatus::True { Tone::Busy } else { Tone::Idle }, &status)) } @else { (condition_status(&kind, &status, condition.reason.as_str())) } }
                            td { (condition.reason.as_str()) }
                            td.text { (condition.message) }
                            td.time { (time(condition.last_transition_time.as_millisecond())) }
                        }
                    }
                }
            }
        }))
    }
}

/// What changed, the newest first; `with_object` names the objects.
pub fn history(moment: &Moment, rows: &[HistoryRow], with_object: bool) -> Markup {
    html! {
        (scroll("History", &html! {
            table.history.stack {
                thead { tr { th scope="col" { "When (UTC)" } @if with_object { th scope="col" { "Object" } } th scope="col" { "What" } th scope="col" { "Now" } th scope="col" { "Why" } th.n scope="col" { "Generation" } } }
                tbody {
                    @for row in rows {
                        @let one = &row.transition;
                        tr {
                            td.time { (time(one.at_ms)) }
                            @if with_object { td.object { (link(&one.kind, &one.key)) div.sub { (one.kind) } } }
                            td { (one.what) }
                            td {
                                @if one.what == "Spec" || one.what == "Object" { (badge(Tone::Idle, &one.status)) } @else { (condition_status(&one.what, &one.status, &one.reason)) }
                                @if !one.state.is_empty() { div.sub { (one.state) } }
                            }
                            td.text { @if !one.reason.is_empty() { strong { (one.reason) } " " } @for line in told(moment, &one.message).lines() { span.line { (line) } } }
                            td.n { (one.generation) }
                        }
                    }
                }
            }
        }))
    }
}

/// A message of the history: who needs all of a long one finds it in the ledger.
fn told(moment: &Moment, message: &str) -> String {
    // Half an address would not be known as one.
    let whole = moment.text(&moment.commands.in_text(message));
    let cut = shortened(&whole, HISTORY_CHARS_MAX);
    let more = if cut.len() < whole.len() { "…" } else { "" };
    format!("{cut}{more}")
}

/// A link to an object's page.
pub fn link(kind: &str, key: &Key) -> Markup {
    html! { a href=(object(kind, key)) { span.namespace { (key.namespace) "/" } wbr; (key.name) } }
}

/// A table as `mailfleet get` describes it; columns without a value are left out.
pub fn described<R>(label: &str, table: &Table<R>, rows: &[R], first: impl Fn(&R, &str) -> Markup) -> Markup {
    let cells: Vec<Vec<String>> = rows.iter().map(|row| table.cells(row)).collect();
    let headings: Vec<(String, bool)> = table.headings().map(|(heading, wraps)| (heading.to_owned(), wraps)).collect();
    let has_value = |place: usize| cells.iter().any(|row| row.get(place).is_some_and(|cell| !cell.is_empty() && cell != "-"));
    let shown: Vec<usize> = (0..headings.len()).filter(|place| has_value(*place)).collect();
    let is_number = |place: usize| {
        cells
            .iter()
            .filter_map(|row| row.get(place))
            .all(|cell| cell == "-" || cell.trim_end_matches('%').replace([',', '.'], "").parse::<u64>().is_ok())
    };
    let class = |place: usize| match headings.get(place) {
        Some((_, true)) if place > 0 => "text",
        _ if is_number(place) => "n",
        _ => "",
    };
    scroll(
        label,
        &html! {
            table.described {
                thead { tr { @for place in &shown { th scope="col" class=(class(*place)) { (headings[*place].0) } } } }
                tbody {
                    @for (row, cells) in rows.iter().zip(&cells) {
                        tr {
                            @for place in &shown {
                                @let cell = cells.get(*place).map_or("", String::as_str);
                                @if *place == 0 { th scope="row" { (first(row, cell)) } } @else { td class=(class(*place)) { (cell) } }
                            }
                        }
                    }
                }
            }
        },
    )
}

/// What may be wider than the screen.
pub fn scroll(label: &str, content: &Markup) -> Markup {
    html! { div.scroll role="region" aria-label=(label) tabindex="0" { (content) } }
}

/// How much of a limit is used; that nothing is left is shown.
pub fn limit_meter(used: u64, of: u64, label: &str) -> Markup {
    bar(used, of, label, if of > 0 && used >= of { "full" } else { "" })
}

/// What part of a whole something is.
pub fn meter(count: u64, of: u64, label: &str) -> Markup {
    bar(count, of, label, "")
}

fn bar(used: u64, of: u64, label: &str, class: &str) -> Markup {
    let width = part(used, of, 1000);
    html! {
        svg.meter viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label=(label) {
            rect.track width="1000" height="10" {}
            rect.fill.(class) width=(width) height="10" {}
        }
    }
}

/// A point in time, UTC, to the second.
pub fn time(ms: i64) -> Markup {
    let Ok(at) = jiff::Timestamp::from_millisecond(ms - ms.rem_euclid(1000)) else { return html! { "-" } };
    let text = at.to_string();
    html! { time datetime=(text) { (text.trim_end_matches('Z').replace('T', " ")) } }
}

/// A number for people.
pub fn number(count: u64) -> Markup {
    html! { (grouped(count)) }
}

/// A fact: what, and its value.
pub fn fact(what: &str, value: &Markup) -> Markup {
    html! { div { dt { (what) } dd { (value) } } }
}

/// A heading that sorts a list.
pub fn sorting(list: &List, path: &str, column: &str, name: &str, class: &str) -> Markup {
    let (by, is_reversed) = list.order();
    let sort = (by == column).then_some(if is_reversed { "descending" } else { "ascending" });
    html! {
        th scope="col" class=(class) aria-sort=[sort] {
            a href={ (path) (list.sorted_by(column).query()) } { (name) @if let Some(sort) = sort { span.arrow aria-hidden="true" { @if sort == "ascending" { "▲" } @else { "▼" } } } }
        }
    }
}

/// A choice in a form.
pub fn choice(name: &str, label: &str, all: &str, options: &[String], chosen: &str) -> Markup {
    html! {
        label { span { (label) }
            select name=(name) {
                option value="" { (all) }
                @for option in options { option value=(option) selected[option == chosen] { (option) } }
            }
        }
    }
}

/// The search of a list.
pub fn search(path: &str, list: &List, choices: &Markup, label: &str) -> Markup {
    html! {
        form.search method="get" action=(path) role="search" {
            label { span { (label) } input type="search" name="q" value=(list.text) maxlength="100" autocomplete="off" spellcheck="false"; }
            (choices)
            @if !list.sort.is_empty() { input type="hidden" name="sort" value=(list.sort); }
            button type="submit" { "Show" }
            @if !list.text.is_empty() || !list.kind.is_empty() || !list.state.is_empty() { a href=(path) { "Show all" } }
        }
    }
}

/// Which rows of a list are shown, and the way to the others.
pub fn pages(path: &str, list: &List, all: usize, what: &str) -> Markup {
    let last = all.div_ceil(ROWS_MAX).max(1);
    let page = list.page.min(last);
    html! {
        nav.pages aria-label="Pages of the list" {
            @if page > 1 { a rel="prev" href={ (path) (list.at(page - 1).query()) } { "Previous" } }
            span { (grouped(all)) " " (what) @if last > 1 { ", page " (grouped(page)) " of " (grouped(last)) } }
            @if page < last { a rel="next" href={ (path) (list.at(page + 1).query()) } { "Next" } }
        }
    }
}

/// The rows of the page that is asked for, or of the last one.
pub fn on_page<T>(rows: Vec<T>, page: usize) -> Vec<T> {
    let last = rows.len().div_ceil(ROWS_MAX).max(1);
    rows.into_iter().skip((page.min(last) - 1) * ROWS_MAX).take(ROWS_MAX).collect()
}
