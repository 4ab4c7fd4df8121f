//! A simulation for people: as text, as Markdown, and as JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::{
    Shown,
    stretches::{Stretches, length, moment},
};
use crate::{
    cli::{
        present::{OutputFormat, Table, markdown::escaped},
        text,
    },
    meta::bound::{counted, grouped},
    resources::{Key, campaign::CampaignState, fate::Fate},
    simulate::{CampaignResult, Happening, Simulated},
};

/// Servers that have a column of their own in the table of days.
const COLUMNS_MAX: usize = 6;
/// Happenings that are shown to people.
const HAPPENINGS_SHOWN: usize = 40;
/// The length of the longest bar, characters.
const BAR: usize = 24;
/// What stands for each server in a bar; further ones share the last.
const MARKS: [char; 4] = ['█', '▓', '▒', '░'];

/// A server's row of a campaign.
struct Share {
    campaign: String,
    server: String,
    weight: Option<f64>,
    accepted: u64,
    achieved: Option<f64>,
}

/// A stretch of time: who took how many.
struct Row {
    when: String,
    counts: Vec<u64>,
    total: u64,
    bar: String,
}

/// Prints it for a terminal.
///
/// # Errors
/// When the output cannot be written.
pub fn text(shown: &Shown, mut out: &mut impl Write) -> io::Result<()> {
    for line in sentences(&shown.simulated) {
        write!(out, "{}", text::block(&line))?;
    }
    let heading = |out: &mut dyn Write, words: &str| writeln!(out, "\n{words}:\n");
    heading(out, "Shares")?;
    shares_table().print(OutputFormat::Table, &mut out, shares(&shown.simulated))?;
    let stretches = Stretches::of(&shown.simulated);
    if !stretches.is_empty() {
        heading(out, &format!("Accepted {}, by UTC", stretches.words()))?;
        rows_table(&stretches).print(OutputFormat::Table, &mut out, rows(&stretches))?;
        writeln!(out, "\n{}", legend(&stretches))?;
    }
    heading(out, "What happens")?;
    happenings_table(shown.simulated.from_ms).print(OutputFormat::Table, &mut out, happenings(&shown.simulated))?;
    if let Some(more) = more(&shown.simulated) {
        writeln!(out, "{more}")?;
    }
    writeln!(out, "\nAssumed:")?;
    shown.assumed.iter().try_for_each(|line| write!(out, "{}", text::block(&format!("  {line}"))))
}

/// Prints it for a pull request.
///
/// # Errors
/// When the output cannot be written.
pub fn markdown(shown: &Shown, mut out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "### Mailfleet: simulated campaigns\n")?;
    for line in sentences(&shown.simulated) {
        writeln!(out, "- {}", escaped(&line))?;
    }
    writeln!(out, "\n#### Shares\n")?;
    shares_table().print(OutputFormat::Markdown, &mut out, shares(&shown.simulated))?;
    let stretches = Stretches::of(&shown.simulated);
    if !stretches.is_empty() {
        writeln!(out, "\n#### Accepted {}, by UTC\n", stretches.words())?;
        rows_table(&stretches).print(OutputFormat::Markdown, &mut out, rows(&stretches))?;
        writeln!(out, "\n{}", legend(&stretches))?;
    }
    writeln!(out, "\n#### What happens\n")?;
    happenings_table(shown.simulated.from_ms).print(OutputFormat::Markdown, &mut out, happenings(&shown.simulated))?;
    if let Some(more) = more(&shown.simulated) {
        writeln!(out, "\n{more}")?;
    }
    writeln!(out, "\n#### Assumed\n")?;
    shown.assumed.iter().try_for_each(|line| writeln!(out, "- {}", escaped(line)))
}

/// One JSON object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    from: String,
    to: String,
    /// Whether it was cut off while campaigns were under way.
    is_cut: bool,
    campaigns: Vec<CampaignDocument>,
    /// Accepted messages by minute or, after two days, by hour, and by campaign and server.
    taken: Vec<TakenDocument>,
    happenings: &'a [Happening],
    more_happenings: u64,
    assumed: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CampaignDocument {
    namespace: String,
    name: String,
    people: u64,
    state: Option<CampaignState>,
    why: String,
    started_at: Option<String>,
    last_accepted_at: Option<String>,
    completed_at: Option<String>,
    seconds: Option<f64>,
    recipients: crate::resources::campaign::RecipientCounts,
    servers: Vec<ServerDocument>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerDocument {
    server: String,
    weight_percent: Option<f64>,
    accepted: u64,
    share_percent: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TakenDocument {
    from: String,
    campaign: String,
    server: String,
    accepted: u64,
}

/// Prints it for scripts.
///
/// # Errors
/// When the output cannot be written.
pub fn json(shown: &Shown, out: &mut impl Write) -> io::Result<()> {
    let simulated = &shown.simulated;
    let campaigns = simulated.campaigns.iter().map(|(key, campaign)| CampaignDocument {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        people: campaign.people,
        state: campaign.state,
        why: campaign.why.clone(),
        started_at: campaign.started_ms.map(moment),
        last_accepted_at: campaign.last_ms.map(moment),
        completed_at: campaign.completed_ms.map(moment),
        seconds: lasted_ms(campaign).map(seconds),
        recipients: campaign.counts.clone(),
        servers: campaign
            .servers
            .iter()
            .map(|(server, result)| ServerDocument {
                server: server.to_string(),
                weight_percent: result.weight_percent,
                accepted: result.accepted,
                share_percent: percent(result.accepted, campaign.accepted()),
            })
            .collect(),
    });
    let taken = simulated.taken.iter().flat_map(|(from_ms, counts)| {
        counts.iter().map(|((campaign, server), accepted)| TakenDocument {
            from: moment(*from_ms),
            campaign: campaign.to_string(),
            server: server.to_string(),
            accepted: *accepted,
        })
    });
    let document = Document {
        from: moment(simulated.from_ms),
        to: moment(simulated.to_ms),
        is_cut: simulated.is_cut,
        campaigns: campaigns.collect(),
        taken: taken.collect(),
        happenings: &simulated.happenings,
        more_happenings: simulated.more_happenings,
        assumed: &shown.assumed,
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

#[allow(clippy::cast_precision_loss)]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

#[allow(clippy::cast_precision_loss)]
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

/// From the first claim of a campaign to its end, or to the last message that was accepted.
fn lasted_ms(campaign: &CampaignResult) -> Option<i64> {
    Some(campaign.completed_ms.or(campaign.last_ms)? - campaign.started_ms?)
}

/// What became of each campaign.
fn sentences(simulated: &Simulated) -> Vec<String> {
    let mut sentences: Vec<String> = simulated.campaigns.iter().map(|(key, campaign)| sentence(key, campaign)).collect();
    if simulated.is_cut {
        sentences.push(format!("The simulation ends at {}, before everything is sent; --until goes further.", moment(simulated.to_ms)));
    }
    sentences
}

fn sentence(key: &Key, campaign: &CampaignResult) -> String {
    let state = campaign.state.map_or_else(|| "not simulated".to_owned(), |state| format!("{state:?}"));
    let mut sentence = format!("Campaign {key}: {state}");
    let counts = &campaign.counts;
    let ended = [Fate::Accepted, Fate::Rejected, Fate::Expired, Fate::Unknown];
    let ended: Vec<String> = ended
        .into_iter()
        .filter(|fate| *fate == Fate::Accepted || counts.of(*fate) > 0)
        .map(|fate| format!("{} {}", grouped(counts.of(fate)), fate.to_string().to_lowercase()))
        .collect();
    sentence += &format!(", {} of {}", ended.join(", "), counted(campaign.people, "recipient", "recipients"));
    if let (Some(started), Some(lasted)) = (campaign.started_ms, lasted_ms(campaign)) {
        let to = campaign.completed_ms.or(campaign.last_ms).unwrap_or(started);
        sentence += &format!(", from {} to {} ({})", moment(started), moment(to), in_words(lasted));
    }
    if campaign.state == Some(CampaignState::Completed) || campaign.why.is_empty() {
        sentence + "."
    } else {
        format!("{sentence}. {}", campaign.why)
    }
}

/// A length of time, exact to the second below an hour, and to the minute beyond.
fn in_words(ms: i64) -> String {
    let unit = if ms < 3_600_000 { 1_000 } else { 60_000 };
    length(ms / unit * unit)
}

fn shares_table() -> Table<Share> {
    let share = |share: Option<f64>| share.map(|share| format!("{share:.1}%"));
    Table::empty()
        .column("campaign", "campaign", |row: &Share| row.campaign.clone())
        .folds()
        .column("server", "server", |row: &Share| row.server.clone())
        .folds()
        .column("weight", "by weight", move |row: &Share| share(row.weight))
        .column("accepted", "accepted", |row: &Share| row.accepted)
        .column("share", "share", move |row: &Share| share(row.achieved))
}

fn shares(simulated: &Simulated) -> Vec<Share> {
    let mut rows = Vec::new();
    for (key, campaign) in &simulated.campaigns {
        let total = campaign.accepted();
        for (server, result) in &campaign.servers {
            rows.push(Share {
                campaign: key.to_string(),
                server: server.to_string(),
                weight: result.weight_percent,
                accepted: result.accepted,
                achieved: percent(result.accepted, total),
            });
        }
    }
    rows
}

fn rows_table(stretches: &Stretches) -> Table<Row> {
    let mut table = Table::empty().column("when", stretches.heading(), |row: &Row| row.when.clone());
    let servers = &stretches.servers;
    for (at, server) in servers.iter().take(COLUMNS_MAX).enumerate() {
        table = table.column(server.to_string(), server.to_string(), move |row: &Row| row.counts.get(at).copied().unwrap_or(0)).spare(1);
    }
    if servers.len() > COLUMNS_MAX {
        let others = |row: &Row| row.counts.iter().skip(COLUMNS_MAX).sum::<u64>();
        table = table.column("others", "others", others).spare(1);
    }
    table.column("total", "total", |row: &Row| row.total).column("bar", "", |row: &Row| row.bar.clone()).spare(2)
}

fn rows(stretches: &Stretches) -> Vec<Row> {
    let most = stretches.totals().max().unwrap_or(0).max(1);
    let row = |(from_ms, counts): &(i64, Vec<u64>)| Row {
        when: stretches.name(*from_ms),
        counts: counts.clone(),
        total: counts.iter().sum(),
        bar: bar(counts, most),
    };
    stretches.rows.iter().map(row).collect()
}

/// A bar in which each server has its mark.
fn bar(counts: &[u64], most: u64) -> String {
    let mut bar = String::new();
    let (mut sum, mut drawn) = (0_u64, 0_usize);
    for (at, count) in counts.iter().enumerate() {
        sum += count;
        // Rounded as a whole, so that a bar is as long as its sum.
        let ends = usize::try_from(u128::from(sum) * BAR as u128 / u128::from(most)).unwrap_or(BAR);
        bar.extend(std::iter::repeat_n(MARKS[at.min(MARKS.len() - 1)], ends.saturating_sub(drawn)));
        drawn = drawn.max(ends);
    }
    bar
}

fn legend(stretches: &Stretches) -> String {
    let servers = &stretches.servers;
    let mut parts: Vec<String> = servers.iter().zip(MARKS).map(|(server, mark)| format!("{mark} {server}")).collect();
    if servers.len() > MARKS.len()
        && let Some(last) = parts.last_mut()
    {
        *last += " and others";
    }
    parts.join("  ")
}

fn happenings_table(from_ms: i64) -> Table<Happening> {
    Table::empty()
        .column("at", "time", |row: &Happening| moment(row.at_ms))
        .column("after", "after", move |row: &Happening| in_words(row.at_ms - from_ms))
        .spare(2)
        .column("object", "object", |row: &Happening| format!("{} {}", row.kind, row.object))
        .folds()
        .column("state", "state", |row: &Happening| row.state.clone())
        .column("why", "why", |row: &Happening| row.why.clone())
        .wraps()
}

fn happenings(simulated: &Simulated) -> Vec<Happening> {
    simulated.happenings.iter().take(HAPPENINGS_SHOWN).cloned().collect()
}

fn more(simulated: &Simulated) -> Option<String> {
    let more = simulated.happenings.len().saturating_sub(HAPPENINGS_SHOWN) as u64 + simulated.more_happenings;
    (more > 0).then(|| format!("and {}; -o json has more of them", counted(more, "more change", "more changes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_sum() {
        assert_eq!(bar(&[12, 12], 24), "█".repeat(12) + &"▓".repeat(12));
        assert_eq!(bar(&[1, 1, 1], 3).chars().count(), BAR);
        assert_eq!(bar(&[0, 0], 5), "");
        // Many small parts are not lost to rounding.
        assert_eq!(bar(&[1; 96], 96).chars().count(), BAR);
    }
}
