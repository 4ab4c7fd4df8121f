//! What there is, at a glance. Pure.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{
    charts::{bars, spans},
    moment::{Moment, Past},
    parts::{Tone, badge, campaign_state, limit_meter, link, meter, number, scroll, server_state},
    query::List,
};
use crate::{
    decide::{CampaignDecision, ServerDecision},
    meta::bound::grouped,
    resources::{Campaign, ConditionType, Key, Kind as _, SendingServer, campaign::CampaignState, condition},
    serve::ProcessPhase,
};

/// Rows of each part of the page.
const SHOWN_MAX: usize = 10;
const HOUR_MS: i64 = 3_600_000;
/// Hours in the chart.
const HOURS: i64 = 24;

/// The page.
pub fn page(moment: &Moment, past: &Past) -> Markup {
    let decision = &moment.view.decision;
    let active = decision.servers.values().filter(|server| server.active).count();
    let all = decision.servers.len();
    let in_state = |state| decision.campaigns.values().filter(|campaign| campaign.status.state == state).count();
    let shown = spans(&past.hours, HOUR_MS, HOURS, moment.now_ms, |text| text.get(11..16).unwrap_or_default().to_owned());
    html! {
        h1 { "Overview" }
        (notices(moment, past))
        section.cards aria-label="Figures" {
            (card("Servers", all, "/servers", "in all"))
            (card("Active", active, &of("/servers", "Active"), "may be sent through"))
            (card("Inactive", all - active, &of("/servers", "Inactive"), "may not"))
            (card("Sending", in_state(CampaignState::Sending), &of("/campaigns", "Sending"), "campaigns"))
            (card("Waiting", in_state(CampaignState::Waiting), &of("/campaigns", "Waiting"), "campaigns"))
            (card("Stopped", in_state(CampaignState::Stopped), &of("/campaigns", "Stopped"), "campaigns"))
        }
        (attention(moment))
        div.columns {
            section { h2 { "Throughput" } (bars("Messages by the hour, last 24 hours (UTC)", &shown)) }
            section { h2 { "Servers by type" } (types(&decision.servers)) }
        }
        (under_way(moment))
        (warm_up(&decision.servers))
    }
}

fn of(path: &str, state: &str) -> String {
    let list = List { state: state.to_owned(), page: 1, ..List::default() };
    format!("{path}{}", list.query())
}

fn card(name: &str, count: usize, path: &str, what: &str) -> Markup {
    html! { a.card href=(path) { span.name { (name) } span.count { (grouped(count)) } span.sub { (what) } } }
}

/// What concerns the process as a whole.
pub fn notices(moment: &Moment, past: &Past) -> Markup {
    let phase = match moment.phase {
        ProcessPhase::Starting => Some("This process is starting."),
        ProcessPhase::StandingBy => Some("This process stands by: another one leads, and its dashboard shows what is sent."),
        ProcessPhase::Leading if moment.view.turned_at.is_none() => Some("The objects are not all read yet."),
        ProcessPhase::Leading => None,
        ProcessPhase::Stopping => Some("This process is stopping."),
    };
    html! {
        @if let Some(phase) = phase { p.notice { (badge(Tone::Idle, "Not sending")) " " (phase) } }
        @if let Some(problem) = &moment.view.report.ledger_problem {
            p.notice { (badge(Tone::Bad, "Nothing is sent")) " " (moment.text(&problem.message)) }
        }
        @if let Some(problem) = &past.problem { p.notice { (badge(Tone::Warn, "No history")) " " (problem) } }
    }
}

/// Servers and campaigns that a person should look at.
fn attention(moment: &Moment) -> Markup {
    let decision = &moment.view.decision;
    let servers: Vec<(&Key, &ServerDecision)> =
        decision.servers.iter().filter(|(_, server)| !server.active && !server.is_pending()).collect();
    let campaigns: Vec<(&Key, &CampaignDecision)> = decision.campaigns.iter().filter(|(_, one)| needs_person(one)).collect();
    let message =
        |conditions| condition::find(conditions, ConditionType::Ready).map(|ready| moment.text(&moment.commands.in_text(&ready.message)));
    html! {
        section.attention {
            h2 { "Needs attention" }
            @if servers.is_empty() && campaigns.is_empty() { p.sub { "Nothing: every server is Active, and no campaign is stopped." } }
            @else {
                ul.items {
                    @for (key, one) in campaigns.iter().take(SHOWN_MAX) {
                        li { div { (campaign_state(one.status.state)) " " (link(Campaign::KIND, key)) } @if let Some(message) = message(&one.status.conditions) { p { (message) } } }
                    }
                    @for (key, one) in servers.iter().take(SHOWN_MAX) {
                        li { div { (server_state(one.status.state, false)) " " (link(SendingServer::KIND, key)) } @if let Some(message) = message(&one.status.conditions) { p { (message) } } }
                    }
                }
                @if campaigns.len() > SHOWN_MAX { p { a href=(of("/campaigns", "Stopped")) { "All campaigns that are stopped" } } }
                @if servers.len() > SHOWN_MAX { p { a href=(of("/servers", "Inactive")) { "All " (grouped(servers.len())) " servers that are Inactive" } } }
            }
        }
    }
}

/// Whether only a person changes something about a campaign.
fn needs_person(campaign: &CampaignDecision) -> bool {
    let is_stalled = condition::find(&campaign.status.conditions, ConditionType::Stalled).is_some();
    campaign.waits_for_person
        || campaign.status.state == CampaignState::Stopped
        || is_stalled && campaign.status.state != CampaignState::Completed
}

/// How many servers there are of each type.
fn types(servers: &BTreeMap<Key, ServerDecision>) -> Markup {
    let mut types: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for server in servers.values() {
        let (all, active) = types.entry(&server.status.provider).or_default();
        *all += 1;
        *active += u64::from(server.active);
    }
    let total = servers.len() as u64;
    let mut types: Vec<_> = types.into_iter().collect();
    types.sort_by_key(|(name, (all, _))| (std::cmp::Reverse(*all), *name));
    html! {
        @if types.is_empty() { p.sub { "There are no servers." } }
        @else {
            (scroll("Servers by type", &html! {
                table {
                    thead { tr { th scope="col" { "Type" } th.n scope="col" { "Servers" } th.n scope="col" { "Active" } th scope="col" { "Share" } } }
                    tbody {
                        @for (name, (all, active)) in &types {
                            @let list = List { kind: (*name).to_owned(), page: 1, ..List::default() };
                            tr {
                                th scope="row" { a href={ "/servers" (list.query()) } { (name) } }
                                td.n { (number(*all)) }
                                td.n { (number(*active)) }
                                td.bar { (meter(*all, total, &format!("{all} of {total} servers"))) }
                            }
                        }
                    }
                }
            }))
        }
    }
}

/// Campaigns that have begun and are not over.
fn under_way(moment: &Moment) -> Markup {
    let is_open = |one: &CampaignDecision| matches!(one.status.state, CampaignState::Sending | CampaignState::Waiting);
    let campaigns: Vec<_> = moment.view.decision.campaigns.iter().filter(|(_, one)| is_open(one)).collect();
    html! {
        section {
            h2 { "Campaigns under way" }
            @if campaigns.is_empty() { p.sub { "None." } }
            @else {
                (scroll("Campaigns under way", &html! {
                    table {
                        thead { tr { th scope="col" { "Campaign" } th scope="col" { "State" } th scope="col" { "Progress" } th.n scope="col" { "Accepted" } th.n scope="col" { "Of" } th.n scope="col" { "Failed" } } }
                        tbody {
                            @for (key, one) in campaigns.iter().take(SHOWN_MAX) {
                                @let (total, is_estimate) = one.status.total().unwrap_or((0, true));
                                tr {
                                    th scope="row" { (link(Campaign::KIND, key)) }
                                    td { (campaign_state(one.status.state)) }
                                    td.bar { (meter(one.status.done(), total, "progress")) }
                                    td.n { (number(one.status.recipients.accepted)) }
                                    td.n { @if total == 0 { "-" } @else { @if is_estimate { "~" } (number(total)) } }
                                    td.n { (number(one.status.failed)) }
                                }
                            }
                        }
                    }
                }))
                @if campaigns.len() > SHOWN_MAX { p { a href="/campaigns?sort=state" { "All " (grouped(campaigns.len())) } } }
            }
        }
    }
}

/// Servers that warm up.
fn warm_up(servers: &BTreeMap<Key, ServerDecision>) -> Markup {
    let warming: Vec<_> = servers.iter().filter_map(|(key, server)| Some((key, server.status.warmup.as_ref()?))).collect();
    html! {
        @if !warming.is_empty() {
            section {
                h2 { "Warm-up" }
                (scroll("Warm-up", &html! {
                    table {
                        thead { tr { th scope="col" { "Server" } th scope="col" { "Day" } th scope="col" { "Today" } th.n scope="col" { "Sent" } th.n scope="col" { "Limit" } th scope="col" { "Over on" } } }
                        tbody {
                            @for (key, warmup) in warming.iter().take(SHOWN_MAX) {
                                @let used = warmup.used.unwrap_or(0);
                                tr {
                                    th scope="row" { (link(SendingServer::KIND, key)) }
                                    td { (warmup.step) " of " (warmup.steps) }
                                    td.bar { (limit_meter(used, warmup.limit, &format!("{used} of {} sent today", warmup.limit))) }
                                    td.n { (number(used)) }
                                    td.n { (number(warmup.limit)) }
                                    td.time { (warmup.over_on) }
                                }
                            }
                        }
                    }
                }))
                @if warming.len() > SHOWN_MAX { p { a href="/servers?sort=warmup" { "All " (grouped(warming.len())) } } }
            }
        }
    }
}
