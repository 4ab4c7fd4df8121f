//! What an installed spam filter says of a message: rspamd by `rspamc`, or SpamAssassin by its own program.
//!
//! Only the content is judged: SpamAssassin asks nobody else (`--local`), and rspamd is told that the message comes from this machine.

use std::{process::Stdio, time::Duration};

use clap::ValueEnum;
use serde::Deserialize;
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

/// How long a filter may take. SpamAssassin compiles its rules first.
const TIME_MAX: Duration = Duration::from_secs(120);
/// Rules that are named, those with the most points first.
const NAMED_MAX: usize = 8;
/// Rules with fewer points than this say little.
const POINTS_MIN: f64 = 0.1;

/// The spam filters that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SpamFilter {
    /// Whichever is installed: rspamd, or else SpamAssassin.
    Installed,
    /// The rspamd that runs on this machine.
    Rspamd,
    /// SpamAssassin, without asking anybody else.
    Spamassassin,
}

/// What a filter said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SpamScore {
    /// The filter.
    pub filter: &'static str,
    /// The points of the message.
    pub points: f64,
    /// The points from which on it takes a message for spam.
    pub required: f64,
    /// What it would do with the message, where that is more than to hand it on.
    pub action: Option<String>,
    /// The rules that gave points, the most first: name, description, points.
    pub rules: Vec<(String, String, f64)>,
}

impl SpamScore {
    /// Whether the filter would treat the message as spam in some way.
    pub fn is_spam(&self) -> bool {
        self.action.is_some()
    }

    /// In a line; none where no rule gave points and the message is handed on.
    pub fn words(&self) -> Option<String> {
        let of_rule = |(name, description, points): &(String, String, f64)| {
            let description = if description.is_empty() { String::new() } else { format!(" ({description})") };
            format!("{name} {points:.1}{description}")
        };
        let rules: Vec<String> = self.rules.iter().take(NAMED_MAX).map(of_rule).collect();
        let Self { filter, points, required, action, .. } = self;
        let rules = if rules.is_empty() { String::new() } else { format!(": {}", rules.join(", ")) };
        match action {
            Some(action) => Some(format!("{filter} would {action} it, with {points:.1} points of {required:.1}{rules}")),
            None => (!rules.is_empty()).then(|| format!("{filter} gives {points:.1} points of {required:.1}{rules}")),
        }
    }

    fn sorted(mut self) -> Self {
        // A rule that decides alone has no points.
        self.rules.retain(|(name, _, points)| *points >= POINTS_MIN || name == "GTUBE");
        self.rules.sort_by(|one, other| other.2.total_cmp(&one.2).then_with(|| one.0.cmp(&other.0)));
        self
    }
}

/// Asks a filter about a message.
///
/// # Errors
/// In words for people, when it is not installed, does not run or gives no answer that can be read.
pub(super) async fn ask(filter: SpamFilter, message: &[u8]) -> Result<SpamScore, String> {
    match filter {
        SpamFilter::Rspamd => rspamd(message).await.unwrap_or_else(|| Err("`rspamc` is not installed; it comes with rspamd".to_owned())),
        SpamFilter::Spamassassin => spamassassin(message).await.unwrap_or_else(|| Err("`spamassassin` is not installed".to_owned())),
        SpamFilter::Installed => match rspamd(message).await {
            Some(said) => said,
            None => {
                spamassassin(message).await.unwrap_or_else(|| Err("no spam filter is installed; install rspamd or spamassassin".to_owned()))
            }
        },
    }
}

async fn rspamd(message: &[u8]) -> Option<Result<SpamScore, String>> {
    let said = output_of("rspamc", &["--json", "--ip=127.0.0.1", "--hostname=localhost"], message).await?;
    Some(said.and_then(|said| of_rspamd(&said).map_err(|why| format!("what `rspamc` says cannot be read ({why}): {}", begin(&said)))))
}

async fn spamassassin(message: &[u8]) -> Option<Result<SpamScore, String>> {
    let said = output_of("spamassassin", &["--local", "--test-mode"], message).await?;
    Some(said.and_then(|said| of_spamassassin(&said).ok_or_else(|| format!("what `spamassassin` says has no score: {}", begin(&said)))))
}

/// What a program says of a message; `None` when it is not installed.
async fn output_of(program: &str, arguments: &[&str], message: &[u8]) -> Option<Result<String, String>> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = match command.spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => return Some(Err(format!("`{program}` cannot be started: {error}"))),
        Ok(child) => child,
    };
    let input = child.stdin.take();
    let told = async move {
        // A filter that ends before it has read everything says why.
        if let Some(mut input) = input {
            let _ = input.write_all(message).await;
        }
    };
    let answered = timeout(TIME_MAX, async { tokio::join!(told, child.wait_with_output()).1 }).await;
    Some(match answered {
        Err(_) => Err(format!("`{program}` has not answered within {} s", TIME_MAX.as_secs())),
        Ok(Err(error)) => Err(format!("`{program}` cannot be read: {error}")),
        Ok(Ok(output)) if !output.status.success() => {
            let said = String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr }).into_owned();
            Err(format!("`{program}` has failed ({}): {}", output.status, begin(&said)))
        }
        Ok(Ok(output)) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
    })
}

fn begin(said: &str) -> String {
    said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[derive(Deserialize)]
struct Rspamd {
    score: f64,
    required_score: f64,
    action: String,
    #[serde(default)]
    symbols: std::collections::BTreeMap<String, Symbol>,
}

#[derive(Deserialize)]
struct Symbol {
    score: f64,
    #[serde(default)]
    description: String,
}

/// What `rspamc --json` prints.
fn of_rspamd(said: &str) -> Result<SpamScore, serde_json::Error> {
    let Rspamd { score, required_score, action, symbols } = serde_json::from_str(said)?;
    let rules = symbols.into_iter().map(|(name, symbol)| (name, symbol.description, symbol.score)).collect();
    // Who is not known yet is greylisted, whatever the message holds.
    let action = (!matches!(action.as_str(), "no action" | "greylist")).then(|| match action.as_str() {
        "add header" => "mark".to_owned(),
        "rewrite subject" => "rewrite the subject of".to_owned(),
        "soft reject" => "defer".to_owned(),
        other => other.to_owned(),
    });
    Ok(SpamScore { filter: "rspamd", points: score, required: required_score, action, rules }.sorted())
}

/// The report that `spamassassin --test-mode` adds.
fn of_spamassassin(said: &str) -> Option<SpamScore> {
    let (_, report) = said.rsplit_once("Content analysis details:")?;
    let (head, table) = report.split_once(')')?;
    let mut words = head.trim().trim_start_matches('(').split_whitespace();
    let points: f64 = words.next()?.parse().ok()?;
    let required: f64 = words.find_map(|word| word.parse().ok())?;
    let mut rules: Vec<(String, String, f64)> = Vec::new();
    for line in table.lines() {
        let mut words = line.split_whitespace();
        match (words.next().and_then(|word| word.parse::<f64>().ok()), words.next()) {
            (Some(points), Some(name)) => rules.push((name.to_owned(), words.collect::<Vec<_>>().join(" "), points)),
            // A description goes on below its beginning.
            _ if line.starts_with("      ") => {
                if let Some((_, description, _)) = rules.last_mut().filter(|_| !line.trim().is_empty()) {
                    description.push(' ');
                    description.push_str(line.trim());
                }
            }
            _ => {}
        }
    }
    let action = (points >= required).then(|| "mark".to_owned());
    Some(SpamScore { filter: "SpamAssassin", points, required, action, rules }.sorted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_spamassassin_is_read() {
        let said = "Subject: Content analysis details: (9 points)\n\nContent analysis details:   (6.7 points, 5.0 required)\n\n pts rule name              description\n---- ---------------------- --------------------------------------------------\n-0.0 NO_RELAYS              Informational: message was not relayed via SMTP\n 2.2 MISSING_SUBJECT        Missing Subject: header\n 4.5 HTML_IMAGE_ONLY_04     BODY: HTML: images with 0-400 bytes of\n                            words\n\n";
        let score = of_spamassassin(said).expect("a score");
        assert!(score.is_spam());
        assert_eq!(
            score.words().as_deref(),
            Some(
                "SpamAssassin would mark it, with 6.7 points of 5.0: HTML_IMAGE_ONLY_04 4.5 (BODY: HTML: images with 0-400 bytes of words), MISSING_SUBJECT 2.2 (Missing Subject: header)"
            )
        );
        assert_eq!(of_spamassassin("Subject: Hi\n\nHello"), None);
    }

    #[test]
    fn the_json_of_rspamd_is_read() {
        let said = |action: &str| {
            format!(
                "{{\"score\":7.0,\"required_score\":15.0,\"action\":\"{action}\",\"symbols\":{{\"MIME_GOOD\":{{\"score\":-0.1}},\"SUBJ_ALL_CAPS\":{{\"score\":2.1,\"description\":\"All capital letters\"}},\"A_SURBL\":{{\"score\":5.0}}}}}}"
            )
        };
        let score = of_rspamd(&said("add header")).expect("a score");
        assert!(score.is_spam());
        assert_eq!(score.rules.iter().map(|(name, _, _)| &**name).collect::<Vec<_>>(), ["A_SURBL", "SUBJ_ALL_CAPS"]);
        assert!(!of_rspamd(&said("no action")).expect("a score").is_spam());
        assert!(of_rspamd("{}").is_err());
    }

    #[tokio::test]
    async fn a_filter_that_is_missing_fails_or_is_silent_is_told() {
        assert_eq!(output_of("mailfleet-no-such-filter", &[], b"").await, None);
        let large = vec![b'x'; 1 << 20];
        let failed = output_of("sh", &["-c", "echo no rules >&2; exit 3"], &large).await.expect("it runs").expect_err("it fails");
        assert!(failed.contains("no rules") && failed.contains('3'), "{failed}");
        let said = output_of("sh", &["-c", "wc -c"], &large).await.expect("it runs").expect("it answers");
        assert_eq!(said.trim(), large.len().to_string());
    }
}
