//! A change for people: as text, and as Markdown for a pull request.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{Report, Summary, documents::titled, print_findings, words};
use crate::{
    cli::{
        present::{
            OutputFormat, Table,
            markdown::{code, escaped},
        },
        text,
    },
    compare::{Change, ObjectChange, meaning::CampaignMeaning},
    meta::bound::{counted, grouped, listed},
};

/// Campaigns with different servers that are shown in tables.
const GROUPS_MAX: usize = 50;
/// Fields of an object that Markdown shows.
const FIELDS_MAX: usize = 100;
/// A comment of GitHub has no more than 65,536 characters: beyond this, fields are left out.
const COMMENT_MAX: usize = 60_000;
/// Lines of a list that Markdown shows.
const LINES_MAX: usize = 100;

/// A server's row in the table of campaigns.
struct Row {
    campaign: String,
    server: String,
    before: String,
    after: String,
    shift: String,
    why: Option<String>,
}

fn table() -> Table<Row> {
    Table::empty()
        .column("campaign", "campaign", |row: &Row| row.campaign.clone())
        .folds()
        .column("server", "server", |row: &Row| row.server.clone())
        .folds()
        .column("before", "before", |row: &Row| row.before.clone())
        .column("after", "after", |row: &Row| row.after.clone())
        .column("change", "change", |row: &Row| row.shift.clone())
        .column("why", "why not", |row: &Row| row.why.clone())
        .wraps()
        .spare(1)
}

/// The campaigns whose shares are told: those that are new, and those of which some change; campaigns alike share their rows.
fn rows(campaigns: &[CampaignMeaning]) -> (Vec<Row>, usize) {
    let mut groups: Vec<(&CampaignMeaning, Vec<String>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for campaign in campaigns.iter().filter(|campaign| is_told(campaign)) {
        let name = named(campaign);
        let alike = format!("{:?}", campaign.servers);
        if let Some((_, names)) = places.get(&alike).and_then(|at| groups.get_mut(*at)) {
            names.push(name);
        } else {
            places.insert(alike, groups.len());
            groups.push((campaign, vec![name]));
        }
    }
    let left = groups.len().saturating_sub(GROUPS_MAX);
    let mut rows = Vec::new();
    for (campaign, names) in groups.into_iter().take(GROUPS_MAX) {
        let mut name = listed(names.iter().map(String::as_str));
        for share in &campaign.servers {
            rows.push(Row {
                campaign: std::mem::take(&mut name),
                server: share.server.clone(),
                before: words::share(share.before),
                after: words::share(share.after),
                shift: words::shift(share.before, share.after),
                why: share.why_not.clone(),
            });
        }
    }
    (rows, left)
}

fn is_told(campaign: &CampaignMeaning) -> bool {
    let is_there = campaign.state.is_some();
    is_there && (campaign.state_before.is_none() || campaign.servers.iter().any(|share| share.before != share.after))
}

fn named(campaign: &CampaignMeaning) -> String {
    format!("{}/{}", campaign.namespace, campaign.name)
}

/// `1 added, 2 changed, 0 removed; 1 dangerous change.`
pub fn summary(summary: Summary) -> String {
    if summary.is_empty() {
        return "No changes.".to_owned();
    }
    let dangerous = match summary.dangerous {
        0 => "nothing dangerous".to_owned(),
        count => counted(count, "dangerous change", "dangerous changes"),
    };
    let Summary { added, changed, removed, .. } = summary;
    format!("{} added, {} changed, {} removed; {dangerous}.", grouped(added), grouped(changed), grouped(removed))
}

fn heading(object: &ObjectChange) -> String {
    format!("{}: {}", titled(object.kind, &object.namespace, &object.name), words::verb(object.change))
}

/// Prints the change for a terminal.
///
/// # Errors
/// When the output cannot be written.
pub fn text(report: &Report, mut out: &mut impl Write) -> io::Result<()> {
    print_findings(report, out)?;
    let side = |side: &super::SideReport| format!("{} ({})", side.name, counted(side.documents, "document", "documents"));
    write!(out, "{}", text::block(&format!("{} → {}", side(&report.old), side(&report.new))))?;
    for object in &report.objects {
        writeln!(out, "\n{} {}", object.change.sign(), heading(object))?;
        for field in &object.fields {
            write!(out, "{}", indented(&format!("{} {}", field.change.sign(), words::field(field)), 4))?;
        }
    }
    let (rows, left) = rows(&report.campaigns);
    if !rows.is_empty() {
        writeln!(out, "\nShares of the next messages:\n")?;
        table().print(OutputFormat::Table, &mut out, rows)?;
        if left > 0 {
            writeln!(out, "({} with other servers are not shown; -o json has all)", counted(left, "more campaign", "more campaigns"))?;
        }
    }
    for campaign in &report.campaigns {
        let sentences = words::sentences(campaign);
        if !sentences.is_empty() {
            writeln!(out, "\n{}", titled(crate::compare::ObjectKind::Campaign, &campaign.namespace, &campaign.name))?;
            sentences.iter().try_for_each(|sentence| write!(out, "{}", indented(sentence, 2)))?;
        }
    }
    let list = |out: &mut dyn Write, heading: &str, lines: Vec<String>| -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{heading}")?;
        lines.iter().try_for_each(|line| write!(out, "{}", indented(line, 2)))
    };
    list(out, "Conditions that change:", words::conditions(&report.conditions, &report.campaigns))?;
    list(out, "Needed before the merge, and not known to be there:", report.needs.iter().map(need).collect())?;
    list(out, "Assumptions:", report.assumed.clone())?;
    list(out, "Dangerous:", report.dangers.iter().map(danger).collect())?;
    write!(out, "\n{}", text::block(&summary(report.summary)))
}

/// A line below a heading; on a terminal it is wrapped.
fn indented(line: &str, by: usize) -> String {
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text::block(&format!("{}{line}", " ".repeat(by)))
}

fn need(need: &crate::compare::Need) -> String {
    let what = match need.what {
        "DnsRecord" => "DNS record",
        what => what,
    };
    format!("{what} {} ({})", need.name, need.needed_by)
}

fn danger(danger: &crate::compare::Danger) -> String {
    format!("! {}: {}", titled(danger.kind, &danger.namespace, &danger.name), danger.why)
}

/// Prints the change as a comment for a pull request.
///
/// # Errors
/// When the output cannot be written.
pub fn markdown(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut whole = Vec::new();
    comment(report, Detail { title: "Mailfleet", has_fields: true, has_findings: true }, &mut whole)?;
    if whole.len() > COMMENT_MAX {
        whole.clear();
        comment(report, Detail { title: "Mailfleet", has_fields: false, has_findings: true }, &mut whole)?;
    }
    out.write_all(&whole)
}

/// How much of a change Markdown shows.
#[derive(Clone, Copy, Debug)]
pub struct Detail {
    /// What stands before the summary.
    pub title: &'static str,
    /// Whether the fields of objects are shown, or only counted.
    pub has_fields: bool,
    /// Whether faults and warnings of the documents are shown.
    pub has_findings: bool,
}

/// The change in Markdown, with so much of it.
///
/// # Errors
/// When the output cannot be written.
pub fn comment(report: &Report, detail: Detail, mut out: &mut Vec<u8>) -> io::Result<()> {
    let name = |name: &str| code(name);
    writeln!(out, "### {}: {}\n", detail.title, summary(report.summary))?;
    writeln!(out, "{} → {}", name(&report.old.name), name(&report.new.name))?;
    let findings = detail.has_findings.then(|| report.findings());
    let faults = findings.into_iter().flatten().map(|finding| escaped(&finding.to_string())).collect();
    let list = |out: &mut Vec<u8>, heading: &str, lines: Vec<String>| -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n#### {heading}\n")?;
        lines.iter().take(LINES_MAX).try_for_each(|line| writeln!(out, "- {line}"))?;
        match lines.len().saturating_sub(LINES_MAX) {
            0 => Ok(()),
            left => writeln!(out, "- and {} more; `mailfleet diff` shows them", grouped(left)),
        }
    };
    let dangers = report.dangers.iter().map(|danger| {
        let title = titled(danger.kind, &danger.namespace, &danger.name);
        format!("⚠️ **{}**: {}", escaped(&title), escaped(&danger.why))
    });
    list(out, "Dangerous", dangers.collect())?;
    list(out, "Faults and warnings of the documents", faults)?;
    let (rows, left) = rows(&report.campaigns);
    if !rows.is_empty() {
        writeln!(out, "\n#### Shares of the next messages\n")?;
        table().print(OutputFormat::Markdown, &mut out, rows)?;
        if left > 0 {
            writeln!(out, "\n{} with other servers are not shown.", counted(left, "more campaign", "more campaigns"))?;
        }
    }
    let told = report.campaigns.iter().filter_map(|campaign| {
        let sentences = words::sentences(campaign);
        let title = titled(crate::compare::ObjectKind::Campaign, &campaign.namespace, &campaign.name);
        (!sentences.is_empty()).then(|| format!("**{}**: {}", escaped(&title), escaped(&sentences.join(" "))))
    });
    list(out, "Campaigns", told.collect())?;
    list(
        out,
        "Conditions that change",
        words::conditions(&report.conditions, &report.campaigns).iter().map(|words| escaped(words)).collect(),
    )?;
    list(out, "Needed before the merge, and not known to be there", report.needs.iter().map(|one| escaped(&need(one))).collect())?;
    if !report.objects.is_empty() {
        writeln!(out, "\n#### Objects\n")?;
    }
    for object in &report.objects {
        let heading = format!("{} {}", sign(object.change), escaped(&heading(object)));
        if !detail.has_fields {
            writeln!(out, "- {heading}, {}", counted(object.fields.len(), "field", "fields"))?;
            continue;
        }
        writeln!(out, "<details><summary>{heading}</summary>\n\n```diff")?;
        for field in object.fields.iter().take(FIELDS_MAX) {
            // A fence ends at three backticks.
            let line: String = words::field(field).replace("```", "'''").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let sign = if field.change == Change::Changed { '!' } else { field.change.sign() };
            writeln!(out, "{sign} {line}")?;
        }
        if object.fields.len() > FIELDS_MAX {
            writeln!(out, "# and {} more", grouped(object.fields.len() - FIELDS_MAX))?;
        }
        writeln!(out, "```\n\n</details>")?;
    }
    list(out, "Assumptions", report.assumed.iter().map(|words| escaped(words)).collect())
}

/// The change in a word for a list, where signs would be Markdown's.
const fn sign(change: Change) -> &'static str {
    match change {
        Change::Added => "➕",
        Change::Changed => "✏️",
        Change::Removed => "➖",
    }
}
