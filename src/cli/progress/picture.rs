//! The picture of a run on a terminal: every campaign, and as many servers as there are rows for. Pure.

use unicode_width::UnicodeWidthStr as _;

use crate::{
    cli::screen::{Line, Size, cut, wrapped},
    meta::bound::{counted, grouped},
    resources::campaign::CampaignStatus,
};

/// Rows of a campaign's line, where it is longer than one.
const HEAD_ROWS: usize = 2;
/// Rows of a campaign's message.
const MESSAGE_ROWS: usize = 3;
/// The columns of a server's name.
const NAME_COLUMNS: usize = 32;

/// One campaign.
pub struct Part {
    /// Its line.
    pub head: Line,
    /// Why it is not sending; empty while it is.
    pub message: String,
    /// Whether it has ended.
    pub is_over: bool,
    /// Its servers, a line each.
    pub servers: Vec<Server>,
}

/// What a campaign sent through a server.
pub struct Server {
    line: String,
    accepted: u64,
}

/// What a campaign sent through each of its servers, its share so far, and the share by weight.
pub fn servers(status: &CampaignStatus) -> Vec<Server> {
    let total: u64 = status.servers.iter().map(|server| server.accepted).sum();
    let weights: u64 = status.servers.iter().filter(|server| server.chosen).map(|server| u64::from(server.weight)).sum();
    let shown: Vec<_> = status.servers.iter().filter(|server| server.chosen || server.accepted > 0).collect();
    let names = shown.iter().map(|server| server.server.width()).max().unwrap_or(0).min(NAME_COLUMNS);
    let numbers = shown.iter().map(|server| grouped(server.accepted).len()).max().unwrap_or(0);
    let lines = shown.into_iter().map(|server| {
        let tenths = |part: u64, whole: u64| (part * 1000).checked_div(whole).unwrap_or(0);
        let (share, wanted) = (tenths(server.accepted, total), tenths(u64::from(server.weight), weights));
        let why = if server.why_not.is_empty() { String::new() } else { format!("  {}", server.why_not) };
        let name = cut(&server.server, names);
        let pad = " ".repeat(names - name.width());
        let line = format!(
            "  {name}{pad}  {:>numbers$}  {:>3}.{}% (weight {}.{}%){why}",
            grouped(server.accepted),
            share / 10,
            share % 10,
            wanted / 10,
            wanted % 10
        );
        Server { line, accepted: server.accepted }
    });
    lines.collect()
}

/// The lines for a terminal of that size, of which one row is the cursor's. Campaigns come first, then servers and messages; what has no
/// room is counted.
pub fn lines(parts: &[Part], size: Size) -> Vec<Line> {
    let rows = size.rows.saturating_sub(1).max(1);
    let (mut shown, mut rest): (Vec<&Part>, usize) = (parts.iter().collect(), 0);
    if parts.len() > rows {
        // Stable: those that go on come first, each in the order of the names.
        shown.sort_by_key(|part| part.is_over);
        rest = parts.len() - (rows - 1);
        shown.truncate(rows - 1);
    }
    let mut left = rows - shown.len() - usize::from(rest > 0);
    let mut lines = Vec::new();
    for (place, part) in shown.iter().enumerate() {
        let share = left / (shown.len() - place);
        let block = block(part, size.columns, share);
        left -= block.len() - 1;
        lines.extend(block);
    }
    if rest > 0 {
        lines.push(Line::plain(format!("and {} more campaigns", grouped(rest))));
    }
    lines
}

/// A campaign's line, and no more than `rows` below it.
fn block(part: &Part, columns: usize, rows: usize) -> Vec<Line> {
    let mut left = rows;
    let mut head = part.head.clone();
    let mut below = Vec::new();
    if head.text().width() >= columns && rows >= HEAD_ROWS {
        let (first, rest) = head.wrapped(columns.saturating_sub(5).max(20));
        if rest.len() < HEAD_ROWS {
            below.extend(rest.into_iter().map(|line| format!("    {line}")));
            (head, left) = (first, left - below.len());
        }
    }
    if !part.message.is_empty() {
        let joined = head.clone().then(": ").then(&part.message);
        if below.is_empty() && (joined.text().width() < columns || rows == 0) {
            head = joined;
        } else {
            let all = wrapped(&part.message, columns.saturating_sub(5).max(20));
            let most = MESSAGE_ROWS.min(left);
            let is_cut = all.len() > most;
            let before = below.len();
            below.extend(all.into_iter().take(most).map(|line| format!("    {line}")));
            if is_cut && let Some(last) = below.last_mut() {
                last.push('…');
            }
            left -= below.len() - before;
        }
    }
    let fits = part.servers.len() <= left;
    let count = if fits { part.servers.len() } else { left.saturating_sub(1) };
    let (shown, rest) = part.servers.split_at(count);
    below.extend(shown.iter().map(|server| server.line.clone()));
    if !rest.is_empty() && left > 0 {
        let accepted: u64 = rest.iter().map(|server| server.accepted).sum();
        below.push(format!("  and {} ({} accepted)", counted(rest.len(), "more server", "more servers"), grouped(accepted)));
    }
    std::iter::once(head).chain(below.into_iter().map(Line::plain)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, servers: u64) -> Part {
        let servers = (1..=servers).map(|n| Server { line: format!("  {name}-{n:02}"), accepted: n }).collect();
        Part { head: Line::plain(format!("campaign {name}")), message: String::new(), is_over: name.starts_with("over"), servers }
    }

    fn shown(parts: &[Part], columns: usize, rows: usize) -> Vec<String> {
        lines(parts, Size { columns, rows }).iter().map(|line| line.text().to_owned()).collect()
    }

    #[test]
    fn servers_without_room_are_counted() {
        let all = shown(&[part("a", 30)], 80, 24);
        assert_eq!(all.len(), 23, "the cursor has a row too");
        assert_eq!((&*all[0], &*all[1], &*all[21]), ("campaign a", "  a-01", "  a-21"));
        assert_eq!(all[22], "  and 9 more servers (234 accepted)");
        assert_eq!(shown(&[part("a", 22)], 80, 24).len(), 23, "all have room");
        // What the first does not need the second has.
        let two = shown(&[part("a", 2), part("b", 30)], 80, 24);
        assert_eq!((two.len(), &*two[3], &*two[22]), (23, "campaign b", "  and 12 more servers (294 accepted)"));
        assert_eq!(shown(&[part("a", 30)], 80, 2), ["campaign a"]);
    }

    #[test]
    fn campaigns_that_go_on_come_before_those_that_are_over() {
        let parts: Vec<Part> = ["over-1", "x", "over-2", "y"].map(|name| part(name, 3)).into();
        assert_eq!(shown(&parts, 80, 4), ["campaign x", "campaign y", "and 2 more campaigns"]);
        assert_eq!(shown(&parts, 80, 5), ["campaign over-1", "campaign x", "campaign over-2", "campaign y"]);
    }

    #[test]
    fn a_long_line_of_a_campaign_goes_on_below() {
        let head =
            Line::plain("campaign a ").coloured("Sending", crate::cli::screen::Colour::Green).then(" 300 of 900; 7 to be tried again");
        let all = shown(&[Part { head: head.clone(), ..part("a", 1) }], 40, 24);
        assert_eq!(all, ["campaign a Sending 300 of 900; 7 to", "    be tried again", "  a-01"]);
        assert_eq!(shown(&[Part { head, ..part("a", 1) }], 40, 3).len(), 2, "there is no room");
    }

    #[test]
    fn a_message_follows_its_campaign_or_stands_below_it() {
        let stopped = |message: &str| Part { message: message.to_owned(), ..part("a", 1) };
        assert_eq!(shown(&[stopped("it waits")], 80, 24)[0], "campaign a: it waits");
        let long = "word ".repeat(60);
        let all = shown(&[stopped(&long)], 40, 24);
        assert_eq!((all.len(), &*all[0], &*all[4]), (5, "campaign a", "  a-01"));
        assert!(all[3].ends_with('…') && all.iter().all(|line| line.width() < 40), "{all:?}");
    }
}
