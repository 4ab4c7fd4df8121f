//! The list of campaigns, and the page of one. Pure.

use std::{cmp::Reverse, collections::BTreeMap};

use maud::{Markup, html};

use super::{
    charts::shares,
    moment::{Moment, Past, masked},
    numbers::{part, percent},
    overview::notices,
    parts::{
        Tone, badge, campaign_state, choice, conditions, described, fact, history, link, meter, number, on_page, pages, scroll, search,
        sorting, time,
    },
    query::{List, object},
};
use crate::{
    decide::CampaignDecision,
    ledger::Failure,
    meta::bound::{grouped, shortened},
    present::{promise::promise, tables},
    resources::{
        Campaign, ConditionType, Key, Kind as _, Plan, SendingServer,
        campaign::{CampaignState, CampaignStatus},
        condition,
        fate::Fate,
    },
};

/// Servers of a campaign that are shown.
const SERVERS_MAX: usize = 30;
/// Reasons of failures that are shown.
const REASONS_MAX: usize = 15;
/// Recipients that are shown.
const RECIPIENTS_MAX: usize = 15;
/// The characters of a reply by which failures are alike.
const REASON_MAX: usize = 160;

/// The list.
pub fn list(moment: &Moment, list: &List) -> Markup {
    let decision = &moment.view.decision;
    let is_wanted =
        |key: &Key, one: &CampaignDecision| list.has(key) && (list.state.is_empty() || format!("{:?}", one.status.state) == list.state);
    let mut rows: Vec<(&Key, &CampaignDecision)> = decision.campaigns.iter().filter(|(key, one)| is_wanted(key, one)).collect();
    let (by, is_reversed) = list.order();
    let urgency = |state: CampaignState| match state {
        CampaignState::Stopped => 0,
        CampaignState::Sending => 1,
        CampaignState::Waiting => 2,
        CampaignState::Suspended => 3,
        CampaignState::Scheduled => 4,
        CampaignState::Completed => 5,
    };
    match by {
        "state" => rows.sort_by_key(|row| urgency(row.1.status.state)),
        "accepted" => rows.sort_by_key(|row| Reverse(row.1.status.recipients.accepted)),
        "failed" => rows.sort_by_key(|row| Reverse(row.1.status.failed)),
        "started" => rows.sort_by_key(|row| Reverse(row.1.status.started_at)),
        _ => {}
    }
    if is_reversed {
        rows.reverse();
    }
    let all = rows.len();
    let choices = choice("state", "State", "All states", &CampaignState::ALL.map(|state| format!("{state:?}")), &list.state);
    html! {
        h1 { "Campaigns" }
        (search("/campaigns", list, &choices, "Name"))
        @if all == 0 { p.sub { "No campaign matches." } }
        @else {
            (scroll("Campaigns", &html! {
                table.list {
                    thead { tr {
                        (sorting(list, "/campaigns", "name", "Campaign", ""))
                        (sorting(list, "/campaigns", "state", "State", ""))
                        th.wide scope="col" { "Progress" }
                        (sorting(list, "/campaigns", "accepted", "Accepted", "n"))
                        th.n.wide scope="col" { "Of" }
                        (sorting(list, "/campaigns", "failed", "Failed", "n wide"))
                        (sorting(list, "/campaigns", "started", "Started (UTC)", "wide"))
                    } }
                    tbody {
                        @for (key, one) in on_page(rows, list.page) {
                            @let status = &one.status;
                            @let (total, is_estimate) = status.total().unwrap_or((0, true));
                            tr {
                                th scope="row" {
                                    (link(Campaign::KIND, key))
                                    @if status.state != CampaignState::Completed && let Some(ready) = condition::find(&status.conditions, ConditionType::Ready) { div.sub.clip { (moment.text(&ready.message)) } }
                                }
                                td { (campaign_state(status.state)) }
                                td.bar.wide { (meter(status.done(), total, "progress")) }
                                td.n { (number(status.recipients.accepted)) }
                                td.n.wide { @if total == 0 { "-" } @else { @if is_estimate { "~" } (number(total)) } }
                                td.n.wide { (number(status.failed)) }
                                td.time.wide { @if let Some(at) = status.started_at { (time(at.as_millisecond())) } @else { "-" } }
                            }
                        }
                    }
                }
            }))
        }
        (pages("/campaigns", list, all, "campaigns"))
    }
}

/// One campaign; nothing where there is none of this name.
pub fn one(moment: &Moment, key: &Key, past: &Past) -> Option<Markup> {
    let campaign = moment.view.decision.campaigns.get(key)?;
    let status = &campaign.status;
    Some(html! {
        p.up { a href="/campaigns" { "Campaigns" } }
        h1 { span.namespace { (key.namespace) "/" } wbr; (key.name) }
        (notices(moment, past))
        p.lead {
            (campaign_state(status.state)) " "
            @if let Some(ready) = condition::find(&status.conditions, ConditionType::Ready) { (moment.text(&moment.commands.in_text(&ready.message))) }
        }
        (progress(status))
        p { (moment.text(&moment.commands.in_text(&promise(status, &key.as_arguments())))) }
        @if let Some(rollout) = &status.rollout { p { strong { "Rollout: " (rollout.progress) ". " } (moment.text(&moment.commands.in_text(&rollout.message))) } }
        (facts(moment, key, status))
        div.columns { (outcomes(status)) (events(status)) }
        (picks(moment, status))
        (failures(moment, past))
        section { h2 { "Conditions" } (conditions(&moment.told(&status.conditions))) }
        section {
            h2 { "History" }
            @if past.history.is_empty() { p.sub { "Nothing is recorded yet." } } @else { (history(moment, &past.history, false)) }
            @if past.has_more { p { a href={ "/audit" (List { text: key.to_string(), kind: Campaign::KIND.to_owned(), page: 1, ..List::default() }.query()) } { "All of it" } } }
        }
    })
}

/// How far it is: accepted, failed, and what is left.
fn progress(status: &CampaignStatus) -> Markup {
    let (total, is_estimate) = status.total().unwrap_or((0, true));
    let (accepted, done) = (status.recipients.accepted, status.done());
    let width = |count: u64| part(count, total, 1000);
    let percent = width(done) / 10;
    let of =
        if total == 0 { "an unknown number".to_owned() } else { format!("{}{}", if is_estimate { "about " } else { "" }, grouped(total)) };
    let label = format!(
        "{} of {of} have an outcome: {} accepted, {} failed, {} unknown",
        grouped(done),
        grouped(accepted),
        grouped(status.failed),
        grouped(status.recipients.unknown)
    );
    html! {
        div.progress {
            svg.meter.large viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label=(label) {
                rect.track width="1000" height="10" {}
                rect.fill width=(width(accepted)) height="10" {}
                rect.bad x=(width(accepted)) width=(width(done.saturating_sub(accepted))) height="10" {}
            }
            p.sub { @if total > 0 { (percent) "%: " } (label) "." @if let Some(left) = status.time_left { " About " (left.in_words()) " left." } }
        }
    }
}

fn facts(moment: &Moment, key: &Key, status: &CampaignStatus) -> Markup {
    let sourced = moment.view.objects.campaigns.get(key);
    let spec = sourced.map(|sourced| &sourced.object.spec);
    let report = moment.view.report.campaigns.get(key);
    html! {
        dl.facts {
            @if let Some(spec) = spec {
                @let plan = Key::new(spec.plan_ref.namespace.as_deref().unwrap_or(&*key.namespace), spec.plan_ref.name.as_str());
                (fact("Plan", &link(Plan::KIND, &plan)))
                (fact("From", &html! { (spec.from.address) }))
                (fact("Subject", &html! { (shortened(&spec.subject, REASON_MAX)) }))
            }
            (fact("Run", &html! { (status.run) }))
            (fact("Generation", &html! { (status.observed_generation) }))
            @if let Some(file) = sourced.and_then(|sourced| sourced.origin.file()) { (fact("Source", &html! { (file.file.display()) ":" (file.line) })) }
            @if let Some(at) = status.started_at { (fact("Started (UTC)", &time(at.as_millisecond()))) }
            @if let Some(at) = status.completed_at { (fact("Completed (UTC)", &time(at.as_millisecond()))) }
            @if let Some(rate) = report.and_then(|report| report.per_second) { (fact("Rate", &html! { (crate::meta::bound::rate_in_words(rate)) })) }
            @if let Some(server) = &status.paced_by { (fact("Paced by", &html! { (server) })) }
            (fact("Weighting", &html! { (format!("{:?}", status.effective.weighting)) }))
            (fact("Unknown outcome", &html! { (format!("{:?}", status.effective.when_outcome_is_unknown)) }))
        }
    }
}

fn outcomes(status: &CampaignStatus) -> Markup {
    let counts = &status.recipients;
    let rows = Fate::ALL
        .into_iter()
        .map(|fate| (if fate == Fate::Claimed { "Sending" } else { fate.as_str() }, counts.of(fate)))
        .filter(|(_, count)| *count > 0);
    let others = [
        ("Sent again after an unknown outcome", counts.resent),
        ("Duplicate rows", counts.duplicates),
        ("Excluded", counts.excluded),
        ("Bad rows", counts.bad_rows),
    ];
    let others: Vec<_> = others.into_iter().filter(|(_, count)| *count > 0).collect();
    html! {
        section {
            h2 { "Recipients" }
            (scroll("Recipients by outcome", &html! {
                table {
                    thead { tr { th scope="col" { "Outcome" } th.n scope="col" { "Recipients" } } }
                    tbody {
                        @for (name, count) in rows { tr { th scope="row" { (name) } td.n { (number(count)) } } }
                        @for (name, count) in &others { tr { th scope="row" { (name) } td.n { (number(*count)) } } }
                        tr { th scope="row" { "In all" } td.n { @match status.total() { Some((total, is_estimate)) => { @if is_estimate { "~" } (number(total)) }, None => "not counted yet" } } }
                    }
                }
            }))
        }
    }
}

fn events(status: &CampaignStatus) -> Markup {
    let back = &status.feedback;
    let rows = [
        ("Delivered", back.delivered),
        ("Soft bounced", back.soft_bounced),
        ("Bounced", back.bounced),
        ("Complained", back.complained),
        ("Unsubscribed", back.unsubscribed),
    ];
    html! {
        section {
            h2 { "What came back" }
            @if back.is_empty() { p.sub { "Nothing yet." } }
            @else {
                (scroll("What came back", &html! {
                    table {
                        thead { tr { th scope="col" { "Event" } th.n scope="col" { "Messages" } } }
                        tbody { @for (name, count) in rows { tr { th scope="row" { (name) } td.n { (number(count)) } } } }
                    }
                }))
            }
        }
    }
}

/// Why each server was or was not picked, and what share it has had against its weight.
fn picks(moment: &Moment, status: &CampaignStatus) -> Markup {
    let rows: Vec<_> = status.servers.iter().collect();
    let accepted = status.servers.accepted();
    let weights: u64 =
        rows.iter().filter(|row| row.granted && row.chosen && row.enabled && row.active).map(|row| u64::from(row.weight)).sum();
    let shown: Vec<_> = rows
        .iter()
        .filter(|row| row.chosen)
        .chain(rows.iter().filter(|row| !row.chosen))
        .take(SERVERS_MAX)
        .cloned()
        .map(|row| {
            let why_not = moment.text(&row.why_not).into();
            crate::resources::server_table::CampaignServerStatus { why_not, ..row }
        })
        .collect();
    let server = |server: &str, cell: &str| {
        Key::parse(server).map_or_else(|| html! { (cell) }, |key| html! { a href=(object(SendingServer::KIND, &key)) { (cell) } })
    };
    html! {
        section {
            h2 { "Servers" }
            @if rows.is_empty() { p.sub { "None." } }
            @else {
                (described("Servers", &tables::picks(), &shown, |row, cell| server(&row.server, cell)))
                @if rows.len() > SERVERS_MAX { p.sub { (grouped(rows.len())) " in all; those that are chosen come first, and " (grouped(SERVERS_MAX)) " are shown." } }
                @if accepted > 0 {
                    h3 { "Share against weight" }
                    p.sub { "Above: the share that follows from the weights of servers that are Active now. Below: the share of what was accepted so far." }
                    (scroll("Share against weight", &html! {
                        table {
                            thead { tr { th scope="col" { "Server" } th.n scope="col" { "By weight" } th.n scope="col" { "So far" } th scope="col" { "" span.unseen { "Both as bars" } } } }
                            tbody {
                                @for row in shown.iter().filter(|row| row.accepted > 0 || (row.chosen && row.active)) {
                                    @let is_used = row.granted && row.chosen && row.enabled && row.active;
                                    @let wanted = if is_used { part(u64::from(row.weight), weights, 1000) } else { 0 };
                                    @let is = part(row.accepted, accepted, 1000);
                                    tr {
                                        th scope="row" { (server(&row.server, &row.server)) }
                                        td.n { (percent(wanted)) }
                                        td.n { (percent(is)) }
                                        td.bar { (shares(wanted, is, 1000, &format!("{} by weight, {} so far", percent(wanted), percent(is)))) }
                                    }
                                }
                            }
                        }
                    }))
                }
            }
        }
    }
}

/// What failed, by what was said, and the newest of it.
fn failures(moment: &Moment, past: &Past) -> Markup {
    let mut reasons: BTreeMap<(Fate, String), (u64, Option<&str>)> = BTreeMap::new();
    for failure in &past.failures {
        let (count, server) = reasons.entry((failure.fate, reason(failure))).or_default();
        *count += 1;
        *server = server.or(failure.server.as_deref());
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, (count, _))| Reverse(*count));
    html! {
        section {
            h2 { "Not accepted" }
            @if past.failures.is_empty() { p.sub { "Nobody among the newest 5,000 messages." } }
            @else {
                p.sub { "Among the newest 5,000 messages, by what the server or the template said." }
                (scroll("Failures by reason", &html! {
                    table {
                        thead { tr { th.n scope="col" { "Messages" } th scope="col" { "Outcome" } th scope="col" { "Reason" } th scope="col" { "For example by" } } }
                        tbody {
                            @for ((fate, reason), (count, server)) in reasons.iter().take(REASONS_MAX) {
                                tr { td.n { (number(*count)) } td { (outcome(*fate)) } td.text { (reason) } td { @if let Some(server) = server { (server) } @else { "-" } } }
                            }
                        }
                    }
                }))
                @if reasons.len() > REASONS_MAX { p.sub { "and " (grouped(reasons.len() - REASONS_MAX)) " other reasons" } }
                details {
                    summary { "The newest of them" }
                    (scroll("The newest failures", &html! {
                        table {
                            thead { tr { th scope="col" { "Recipient" } th scope="col" { "Outcome" } th scope="col" { "Server" } th scope="col" { "When (UTC)" } th scope="col" { "Reply" } } }
                            tbody {
                                @for failure in past.failures.iter().take(RECIPIENTS_MAX) {
                                    tr {
                                        th scope="row" { (moment.text(&failure.recipient)) }
                                        td { (outcome(failure.fate)) }
                                        td { (failure.server.as_deref().unwrap_or("-")) }
                                        td.time { (time(failure.at_ms)) }
                                        td.text { (moment.text(failure.reply.as_deref().unwrap_or("-"))) }
                                    }
                                }
                            }
                        }
                    }))
                    @if !moment.shows_recipients { p.sub { "Recipients are masked; " code { "--dashboard-recipients" } " shows them." } }
                }
            }
        }
    }
}

fn outcome(fate: Fate) -> Markup {
    let tone = match fate {
        Fate::Rejected | Fate::Expired | Fate::RenderFailed => Tone::Bad,
        Fate::Unknown | Fate::Held => Tone::Warn,
        _ => Tone::Idle,
    };
    badge(tone, fate.as_str())
}

/// A reply without what is different for each message: addresses, and words with digits behind the codes.
fn reason(failure: &Failure) -> String {
    let Some(reply) = &failure.reply else { return "no reply".to_owned() };
    let masked = masked(shortened(reply, 4 * REASON_MAX));
    let is_particular = |place: usize, word: &str| word.contains("***@") || (place > 1 && word.chars().any(|c| c.is_ascii_digit()));
    let words: Vec<&str> =
        masked.split_whitespace().enumerate().map(|(place, word)| if is_particular(place, word) { "…" } else { word }).collect();
    let mut words = words;
    words.dedup_by(|a, b| *a == "…" && *b == "…");
    shortened(&words.join(" "), REASON_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_one_kind_are_counted_together() {
        let of = |reply: &str| {
            reason(&Failure { recipient: "x@y.example".into(), fate: Fate::Rejected, server: None, at_ms: 0, reply: Some(reply.into()) })
        };
        assert_eq!(of("550 5.1.1 <ann@a.example>: no such user, id 9F3A-1"), "550 5.1.1 … no such user, id …");
        assert_eq!(of("550 5.1.1 <ann@a.example>: no such user, id 9F3A-1"), of("550 5.1.1 <bob@b.example>: no such user, id 77"));
    }
}
