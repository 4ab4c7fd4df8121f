//! The list of servers, and the page of one. Pure.

use std::{cmp::Reverse, collections::BTreeSet};

use maud::{Markup, html};

use super::{
    charts::{bars, spans},
    moment::{Moment, Past},
    overview::notices,
    parts::{
        Tone, badge, choice, conditions, described, fact, history, limit_meter, link, number, on_page, pages, scroll, search, server_state,
        sorting, time,
    },
    query::List,
};
use crate::{
    decide::ServerDecision,
    meta::bound::grouped,
    present::tables,
    report::ServerReport,
    resources::{Campaign, ConditionType, Key, Kind as _, Plan, SendingServer, condition, sending_server::ServerState},
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Days in the chart of a server.
pub const DAYS: i64 = 30;
/// Plans and campaigns that are listed with a server.
const LISTED_MAX: usize = 20;

/// The list.
pub fn list(moment: &Moment, list: &List) -> Markup {
    let (decision, report) = (&moment.view.decision, &moment.view.report);
    let types: BTreeSet<String> = decision.servers.values().map(|server| server.status.provider.clone()).collect();
    let is_wanted = |key: &Key, server: &ServerDecision| {
        list.has(key)
            && (list.kind.is_empty() || server.status.provider == list.kind)
            && (list.state.is_empty() || (server.status.state == ServerState::Active) == (list.state == "Active"))
    };
    let mut rows: Vec<(&Key, &ServerDecision, Option<&ServerReport>)> = decision
        .servers
        .iter()
        .filter(|(key, server)| is_wanted(key, server))
        .map(|(key, server)| (key, server, report.servers.get(key)))
        .collect();
    let (by, is_reversed) = list.order();
    // Names are in order already, and equals stay so.
    match by {
        "type" => rows.sort_by(|a, b| a.1.status.provider.cmp(&b.1.status.provider)),
        "state" => rows.sort_by_key(|row| Reverse(row.1.status.state)),
        "flight" => rows.sort_by_key(|row| Reverse(row.2.map_or(0, |report| report.in_flight))),
        "accepted" => rows.sort_by_key(|row| Reverse(row.2.map_or(0, |report| report.accepted))),
        "left" => rows.sort_by_key(|row| row.2.and_then(|report| report.limit_left).unwrap_or(u64::MAX)),
        "warmup" => rows.sort_by_key(|row| row.1.status.warmup.as_ref().map_or(u32::MAX, |warmup| warmup.step)),
        _ => {}
    }
    if is_reversed {
        rows.reverse();
    }
    let all = rows.len();
    let choices = html! {
        (choice("type", "Type", "All types", &types.into_iter().collect::<Vec<_>>(), &list.kind))
        (choice("state", "State", "All states", &["Active".to_owned(), "Inactive".to_owned()], &list.state))
    };
    let ready = |server: &ServerDecision| condition::find(&server.status.conditions, ConditionType::Ready).cloned();
    html! {
        h1 { "Servers" }
        (search("/servers", list, &choices, "Name"))
        @if all == 0 { p.sub { "No server matches." } }
        @else {
            (scroll("Servers", &html! {
                table.list {
                    thead { tr {
                        (sorting(list, "/servers", "name", "Server", ""))
                        (sorting(list, "/servers", "type", "Type", "wide"))
                        (sorting(list, "/servers", "state", "State", ""))
                        (sorting(list, "/servers", "accepted", "Accepted", "n wide"))
                        (sorting(list, "/servers", "flight", "In flight", "n wide"))
                        (sorting(list, "/servers", "left", "Limit left", "n wide"))
                        (sorting(list, "/servers", "warmup", "Warm-up", "wide"))
                    } }
                    tbody {
                        @for (key, server, report) in on_page(rows, list.page) {
                            tr {
                                th scope="row" {
                                    (link(SendingServer::KIND, key))
                                    @if !server.active && let Some(ready) = ready(server) { div.sub.clip { strong { (ready.reason.as_str()) } " " (moment.text(&ready.message)) } }
                                }
                                td.wide { (server.status.provider) }
                                td { (server_state(server.status.state, server.is_pending())) }
                                td.n.wide { (number(report.map_or(0, |report| report.accepted))) }
                                td.n.wide { (number(report.map_or(0, |report| report.in_flight as u64))) }
                                td.n.wide { @if let Some(left) = report.and_then(|report| report.limit_left) { (number(left)) } @else { "-" } }
                                td.wide { @if let Some(warmup) = &server.status.warmup { "day " (warmup.step) " of " (warmup.steps) } @else { "-" } }
                            }
                        }
                    }
                }
            }))
            p.sub { "Accepted: since this process began." }
        }
        (pages("/servers", list, all, "servers"))
    }
}

/// One server; nothing where there is none of this name.
pub fn one(moment: &Moment, key: &Key, past: &Past) -> Option<Markup> {
    let server = moment.view.decision.servers.get(key)?;
    let status = &server.status;
    let report = moment.view.report.servers.get(key);
    let day = spans(&past.days, DAY_MS, DAYS, moment.now_ms, |text| text.get(..10).unwrap_or_default().to_owned());
    let hours = spans(&past.hours, HOUR_MS, 24, moment.now_ms, |text| text.get(11..16).unwrap_or_default().to_owned());
    let back = status.came_back.as_ref();
    Some(html! {
        p.up { a href="/servers" { "Servers" } }
        h1 { span.namespace { (key.namespace) "/" } wbr; (key.name) }
        (notices(moment, past))
        p.lead {
            (server_state(status.state, server.is_pending())) " "
            @if let Some(ready) = condition::find(&status.conditions, ConditionType::Ready) { (moment.text(&moment.commands.in_text(&ready.message))) }
        }
        (facts(moment, key, server, report))
        section { h2 { "Conditions" } (conditions(&moment.told(&status.conditions))) }
        (limits(server, report))
        @if !status.per_domain.is_empty() { section { h2 { "Limits for receiving domains" } (described("Limits for receiving domains", &tables::domains(), &status.per_domain, |_, cell| html! { (cell) })) } }
        @if let Some(warmup) = &status.warmup {
            section {
                h2 { "Warm-up" }
                p { "Day " (warmup.step) " of " (warmup.steps) ": " (number(warmup.used.unwrap_or(0))) " of " (number(warmup.limit)) " messages sent today." }
                (limit_meter(warmup.used.unwrap_or(0), warmup.limit, "sent today"))
                details { summary { "The days ahead" } (described("Warm-up", &tables::warmup(), &tables::warmup_rows(warmup), |_, cell| html! { (cell) })) }
            }
        }
        @if let Some(back) = back {
            section {
                h2 { "What came back" }
                dl.facts {
                    (fact("Accepted", &number(back.accepted)))
                    (fact("Rejected", &number(back.rejected)))
                    (fact("Bounced", &html! { (number(back.bounced)) " (" (back.bounce_percent) "% with rejected ones)" }))
                    (fact("Complained", &html! { (number(back.complained)) " (" (back.complaint_percent) "%)" }))
                    @if let Some(share) = &back.share { (fact("Share for now", &html! { (share) })) }
                }
                @if !back.paused.is_empty() { (described("Paused namespaces", &tables::paused(), &back.paused, |_, cell| html! { (cell) })) }
            }
        }
        section {
            h2 { "Messages" }
            div.columns { (bars("By the hour, last 24 hours (UTC)", &hours)) (bars("By the day, last 30 days (UTC)", &day)) }
        }
        section {
            h2 { "History" }
            @if past.history.is_empty() { p.sub { "Nothing is recorded yet." } } @else { (history(moment, &past.history, false)) }
            @if past.has_more { p { a href={ "/audit" (List { text: key.to_string(), kind: SendingServer::KIND.to_owned(), page: 1, ..List::default() }.query()) } { "All of it" } } }
        }
    })
}

fn facts(moment: &Moment, key: &Key, server: &ServerDecision, report: Option<&ServerReport>) -> Markup {
    let (status, objects) = (&server.status, &moment.view.objects);
    let sourced = objects.servers.get(key);
    let mut secrets: Vec<String> = Vec::new();
    for needed in sourced.into_iter().flat_map(|sourced| sourced.object.spec.secrets()) {
        let text = format!("{}/{}", needed.key.name, needed.key.key);
        if !secrets.contains(&text) {
            secrets.push(text);
        }
    }
    let granting: Vec<&Key> = moment
        .view
        .decision
        .plans
        .iter()
        .filter(|(plan, status)| plan.namespace == key.namespace && status.servers.iter().any(|granted| *granted.name == *key.name))
        .map(|(plan, _)| plan)
        .collect();
    let using: Vec<&Key> = moment
        .view
        .decision
        .campaigns
        .iter()
        .filter(|(_, campaign)| campaign.intent.as_ref().is_some_and(|intent| intent.candidates.contains(key)))
        .map(|(campaign, _)| campaign)
        .collect();
    let links = |kind: &str, keys: &[&Key]| {
        html! {
            @for key in keys.iter().take(LISTED_MAX) { (link(kind, key)) " " }
            @if keys.len() > LISTED_MAX { "and " (grouped(keys.len() - LISTED_MAX)) " more" }
            @if keys.is_empty() { "none" }
        }
    };
    html! {
        dl.facts {
            (fact("Type", &html! { (status.provider) }))
            (fact("Address", &html! { (status.address) }))
            @if !secrets.is_empty() { (fact("Credentials", &html! { @for (place, secret) in secrets.iter().enumerate() { @if place > 0 { ", " } "Secret " (secret) } })) }
            (fact("Generation", &html! { (status.observed_generation) }))
            @if let Some(file) = sourced.and_then(|sourced| sourced.origin.file()) { (fact("From", &html! { (file.file.display()) ":" (file.line) })) }
            (fact("Granted by", &links(Plan::KIND, &granting)))
            (fact("Campaigns that may use it", &links(Campaign::KIND, &using)))
            (fact("Connections", &html! { (number(u64::from(status.effective.connections))) " at most" }))
            @if let Some(report) = report {
                (fact("In flight", &html! { (number(report.in_flight as u64)) " of " (number(u64::from(status.effective.in_flight))) }))
                (fact("Accepted", &html! { (number(report.accepted)) " since this process began" }))
                (fact("Send failures", &number(report.failures)))
            }
            @if let Some(slowed) = &status.slowed_to { (fact("Slowed to", &html! { (slowed) })) }
            (fact("Probed every", &html! { (status.effective.probe.interval.in_words()) }))
        }
    }
}

/// What of each window is used.
fn limits(server: &ServerDecision, report: Option<&ServerReport>) -> Markup {
    let rates = &server.status.effective.rates;
    html! {
        section {
            h2 { "Limits" }
            @if rates.is_empty() { p.sub { "It has no limit of messages in a time." } }
            @else {
                (scroll("Limits", &html! {
                    table {
                        thead { tr { th scope="col" { "In any" } th.n scope="col" { "Limit" } th.n scope="col" { "Used" } th.n scope="col" { "Left" } th scope="col" { "" span.unseen { "Share used" } } } }
                        tbody {
                            @for rate in rates {
                                tr {
                                    th scope="row" { (rate.per) }
                                    td.n { (number(rate.messages)) }
                                    @if rate.paces() { td.n { "-" } td.n { "-" } td.sub { "paces: messages are spread over it" } }
                                    @else {
                                        @let used = report.map_or(0, |report| report.used_in(rate.per));
                                        td.n { (number(used)) }
                                        td.n { (number(rate.messages.saturating_sub(used))) }
                                        td.bar { (limit_meter(used, rate.messages, &format!("{used} of {} used", rate.messages))) }
                                    }
                                }
                            }
                        }
                    }
                }))
                @if let Some(until) = report.and_then(|report| report.exhausted_until) { p { (badge(Tone::Idle, "Used up")) " until " (time(until)) " UTC" } }
            }
        }
    }
}
