//! The list of plans, and the page of one: what it grants, and which servers its campaigns choose. Pure.

use maud::{Markup, html};

use super::{
    moment::{Moment, Past},
    numbers::{part, percent},
    overview::notices,
    parts::{ROWS_MAX, Tone, badge, campaign_state, conditions, fact, history, link, number, on_page, pages, scroll, search},
    query::List,
};
use crate::{
    decide::CampaignDecision,
    meta::bound::grouped,
    resources::{
        Campaign, ConditionStatus, ConditionType, Key, Kind as _, Plan, PlanSpec, SendingServer, condition,
        plan::{NamespacesFrom, PlanServerStatus, PlanStatus},
    },
};

/// Campaigns that are columns of the table of grants.
const CAMPAIGNS_MAX: usize = 6;

/// The list.
pub fn list(moment: &Moment, list: &List) -> Markup {
    let rows: Vec<(&Key, &PlanStatus)> = moment.view.decision.plans.iter().filter(|(key, _)| list.has(key)).collect();
    let all = rows.len();
    html! {
        h1 { "Plans" }
        (search("/plans", list, &html! {}, "Name"))
        @if all == 0 { p.sub { "No plan matches." } }
        @else {
            (scroll("Plans", &html! {
                table.list {
                    thead { tr { th scope="col" { "Plan" } th scope="col" { "State" } th.n scope="col" { "Active" } th.n scope="col" { "Granted" } th.n scope="col" { "Campaigns" } } }
                    tbody {
                        @for (key, status) in on_page(rows, list.page) {
                            tr {
                                th scope="row" { (link(Plan::KIND, key)) }
                                td { (ready(status)) }
                                td.n { (number(u64::from(status.servers_active))) }
                                td.n { (number(u64::from(status.servers_granted))) }
                                td.n { (number(u64::from(status.campaigns))) }
                            }
                        }
                    }
                }
            }))
        }
        (pages("/plans", list, all, "plans"))
    }
}

fn ready(status: &PlanStatus) -> Markup {
    let is_ready = condition::find(&status.conditions, ConditionType::Ready).is_some_and(|ready| ready.status == ConditionStatus::True);
    if is_ready { badge(Tone::Good, "Ready") } else { badge(Tone::Bad, "Not ready") }
}

/// One plan; nothing where there is none of this name.
pub fn one(moment: &Moment, key: &Key, past: &Past) -> Option<Markup> {
    let status = moment.view.decision.plans.get(key)?;
    let spec = moment.view.objects.plans.get(key).map(|sourced| sourced.object.spec.clone());
    let uses = |(campaign, _): &(&Key, &CampaignDecision)| {
        let object = moment.view.objects.campaigns.get(*campaign).map(|sourced| &sourced.object.spec.plan_ref);
        object.is_some_and(|plan| *plan.name == *key.name && plan.namespace.as_deref().unwrap_or(&campaign.namespace) == &*key.namespace)
    };
    let campaigns: Vec<(&Key, &CampaignDecision)> = moment.view.decision.campaigns.iter().filter(uses).collect();
    Some(html! {
        p.up { a href="/plans" { "Plans" } }
        h1 { span.namespace { (key.namespace) "/" } wbr; (key.name) }
        (notices(moment, past))
        p.lead { (ready(status)) " " @if let Some(ready) = condition::find(&status.conditions, ConditionType::Ready) { (moment.text(&moment.commands.in_text(&ready.message))) } }
        @if let Some(spec) = &spec { (facts(key, spec, status)) }
        (grants(key, status, &campaigns))
        section {
            h2 { "Campaigns" }
            @if campaigns.is_empty() { p.sub { "None uses it." } }
            @else {
                (scroll("Campaigns", &html! {
                    table {
                        thead { tr { th scope="col" { "Campaign" } th scope="col" { "State" } th.n scope="col" { "Accepted" } th scope="col" { "Servers" } } }
                        tbody {
                            @for (campaign, one) in campaigns.iter().take(ROWS_MAX) {
                                @let names = moment.view.objects.campaigns.get(*campaign).and_then(|sourced| sourced.object.spec.servers.as_ref());
                                tr {
                                    th scope="row" { (link(Campaign::KIND, campaign)) }
                                    td { (campaign_state(one.status.state)) }
                                    td.n { (number(one.status.recipients.accepted)) }
                                    td { @if let Some(names) = names { "chooses " (grouped(names.len())) } @else { "all that are granted" } }
                                }
                            }
                        }
                    }
                }))
                @if campaigns.len() > ROWS_MAX { p.sub { (grouped(campaigns.len())) " in all." } }
            }
        }
        section { h2 { "Conditions" } (conditions(&moment.told(&status.conditions))) }
        section { h2 { "History" } @if past.history.is_empty() { p.sub { "Nothing is recorded yet." } } @else { (history(moment, &past.history, false)) } }
    })
}

fn facts(key: &Key, spec: &PlanSpec, status: &PlanStatus) -> Markup {
    let allowed = match spec.allowed_namespaces.as_ref().map(|allowed| allowed.from) {
        None | Some(NamespacesFrom::Same) => format!("{} alone", key.namespace),
        Some(NamespacesFrom::All) => "all".to_owned(),
        Some(NamespacesFrom::Selector) => "those that its selector matches".to_owned(),
    };
    html! {
        dl.facts {
            (fact("Namespaces", &html! { (allowed) }))
            (fact("Servers", &html! { (number(u64::from(status.servers_active))) " Active of " (number(u64::from(status.servers_granted))) " granted" }))
            (fact("Campaigns may choose", &html! { (format!("{:?}", spec.narrowing())) }))
            (fact("Own servers of a namespace", &html! { @if let Some(own) = &spec.own_servers { (number(u64::from(own.max))) " at most" } @else { "not allowed" } }))
            @if let Some(limits) = &spec.limits {
                (fact("Limits of a namespace", &html! { @for (place, rate) in limits.rates.iter().enumerate() { @if place > 0 { ", " } (number(rate.messages)) " per " (rate.per) } }))
            }
            (fact("Generation", &html! { (status.observed_generation) }))
        }
    }
}

/// Granted servers by campaigns: the share of the next messages of each, where it uses the server.
fn grants(key: &Key, status: &PlanStatus, campaigns: &[(&Key, &CampaignDecision)]) -> Markup {
    let open: Vec<_> = campaigns
        .iter()
        .filter(|(_, one)| one.intent.is_some())
        .chain(campaigns.iter().filter(|(_, one)| one.intent.is_none()))
        .take(CAMPAIGNS_MAX)
        .collect();
    let shares: Vec<std::collections::BTreeMap<String, (u32, String, bool)>> = open
        .iter()
        .map(|(_, one)| {
            one.status.servers.iter().map(|row| (row.server.to_string(), (row.weight, row.share_percent.to_string(), row.chosen))).collect()
        })
        .collect();
    let total: u64 = status.servers.iter().filter(|server| server.state == "Active").map(|server| u64::from(server.weight)).sum();
    let tone = |server: &PlanServerStatus| match &*server.state {
        "Active" => Tone::Good,
        "Inactive" => Tone::Bad,
        _ => Tone::Warn,
    };
    html! {
        section {
            h2 { "Grants" }
            p.sub { "Share: of a campaign that chooses among all of them. Below each campaign: its weight of the server, and its share of the next messages." }
            (scroll("Grants", &html! {
                table {
                    thead { tr {
                        th scope="col" { "Server" } th scope="col" { "State" } th.n scope="col" { "Weight" } th.n scope="col" { "Share" }
                        @for (campaign, _) in &open { th.n scope="col" { (link(Campaign::KIND, campaign)) } }
                    } }
                    tbody {
                        @for server in status.servers.iter().take(ROWS_MAX) {
                            @let of = Key::new(key.namespace.clone(), server.name.as_str());
                            tr {
                                th scope="row" { (link(SendingServer::KIND, &of)) }
                                td { (badge(tone(server), &server.state)) }
                                td.n { (number(u64::from(server.weight))) }
                                td.n { @if server.state == "Active" && total > 0 { (percent(part(u64::from(server.weight), total, 1000))) } @else { "-" } }
                                @for shares in &shares {
                                    td.n { @match shares.get(&of.to_string()) { Some((weight, share, true)) => { (number(u64::from(*weight))) span.sub { " " (share) "%" } }, _ => "-" } }
                                }
                            }
                        }
                    }
                }
            }))
            @if status.servers.len() > ROWS_MAX { p.sub { (grouped(status.servers.len())) " servers in all, of which " (grouped(ROWS_MAX)) " are shown." } }
            @if campaigns.len() > CAMPAIGNS_MAX { p.sub { (grouped(campaigns.len())) " campaigns in all, of which " (grouped(CAMPAIGNS_MAX)) " are columns." } }
        }
    }
}
