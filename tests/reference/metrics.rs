//! docs/metrics.md, made from the table of metrics; and whoever else names metrics, against it.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use mailfleet::serve::metrics::{Kind, METRICS};
use serde_json::Value;

const PAGE: &str = "docs/metrics.md";
const RULES: &str = "charts/mailfleet/files/rules.yaml";

const HEAD: &str = "# Metrics

`mailfleet run --admin-address` serves them at `/metrics`; [operations.md](operations.md#probes-and-metrics) says who may reach it, and how the chart has Prometheus scrape it.
The chart has [alerts](runbooks.md) and a dashboard that are made of them.
A scraper that asks for OpenMetrics 1.0, as Prometheus does, gets that, and any other the text format 0.0.4; both are compressed for whoever accepts gzip.

Metrics are made from the same decision as statuses, when somebody asks: `mailfleet get` and a scrape at the same moment say the same, and nothing is counted twice.
Only the ledger says who was mailed: metrics are for alerts, dashboards and autoscaling.

## Labels and their bounds

`server`, `plan` and `campaign` are `NAMESPACE/NAME`.
No label holds an address, a subject or a message.
Metrics of single objects have a bound:

| object | series of its own | how many |
|---|---|---|
| server | the first 5,000 by name | 4, and 3 for each of its conditions; once a campaign uses it, 9; for each window of its limits 1, 2 if it is longer than a minute; 5 while it warms up, 3 with `pauseWhen` |
| plan | the first 1,000 by name | 3 |
| campaign | the first 1,000, those that have not ended first; a day after completion it has none | 26, and 3 for each of its conditions; 3 with a rollout, up to 5 for times and totals |

5,000 servers and 1,000 campaigns that all have everything are some 230,000 series.
What has no series of its own is counted in `mailfleet_objects_left_out`, and in every total.
A server or campaign that is deleted has no series any more; one that is applied again begins at 0.

## Useful queries

```promql
# messages accepted each second, by server
sum by (server) (rate(mailfleet_server_messages_total{outcome=\"Accepted\"}[5m]))

# the time in which 95% of answers came, by type of server
histogram_quantile(0.95, sum by (provider, le) (rate(mailfleet_delivery_duration_seconds_bucket[5m])))

# how long the backlog takes at the present rate, seconds
sum(mailfleet_backlog_recipients) / sum(rate(mailfleet_server_messages_total{outcome=\"Accepted\"}[15m]))

# the share of a server's daily limit that is used
mailfleet_server_limit_used_messages{window=\"24h\"} / mailfleet_server_limit_messages{window=\"24h\"}
```
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for (title, metrics) in METRICS {
        write!(page, "\n## {title}\n\n| metric | type | labels | unit | meaning |\n|---|---|---|---|---|\n").expect("a string");
        for metric in *metrics {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, unit) = (metric.full_name(), metric.unit.unwrap_or_default());
            writeln!(page, "| `{name}` | {} | {} | {unit} | {} |", metric.kind.as_str(), labels.join(", "), metric.help).expect("a string");
        }
    }
    page
}

#[test]
fn the_committed_page_of_metrics_is_their_tables() {
    let now = page();
    if fs::read_to_string(PAGE).unwrap_or_default() != now {
        fs::write(PAGE, now).expect("the file");
        panic!("{PAGE} was stale and is rewritten; commit it");
    }
}

/// The names of metrics in a text: words that begin as all of them do.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("mailfleet_") && *word != "mailfleet_").collect()
}

/// Those that are neither a series nor the name of a histogram.
fn unknown<'t>(named: &BTreeSet<&'t str>) -> Vec<&'t str> {
    let known: BTreeSet<String> = METRICS.iter().flat_map(|(_, metrics)| metrics.iter()).flat_map(|metric| metric.series()).collect();
    let histograms: BTreeSet<String> = METRICS
        .iter()
        .flat_map(|(_, metrics)| metrics.iter())
        .filter(|metric| metric.kind == Kind::Histogram)
        .map(|metric| metric.full_name())
        .collect();
    named.iter().copied().filter(|name| !known.contains(*name) && !histograms.contains(*name)).collect()
}

#[test]
fn whoever_names_a_metric_names_one_that_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let paths = [
        "docs/metrics.md",
        "docs/operations.md",
        "docs/questions.md",
        "docs/runbooks.md",
        RULES,
        "charts/mailfleet/files/grafana-dashboard.json",
    ];
    for path in paths {
        let text = read(path);
        assert_eq!(unknown(&named(&text)), Vec::<&str>::new(), "{path}");
    }
    assert_eq!(unknown(&named("`mailfleet_no_such_metric` and mailfleet_leader")), ["mailfleet_no_such_metric"]);
}

#[test]
fn each_alert_has_its_words_and_its_runbook() {
    let rules: Value = serde_saphyr::from_str(&fs::read_to_string(RULES).expect("the rules")).expect("YAML");
    let runbooks = fs::read_to_string("docs/runbooks.md").expect("the runbooks");
    let sections: Vec<&str> = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let groups = rules["groups"].as_array().expect("groups");
    let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules")).collect();
    let names: Vec<&str> = rules.iter().map(|rule| rule["alert"].as_str().expect("a name")).collect();
    assert!(names.len() > 12, "{names:?}");
    assert_eq!(sections, names, "the sections of the runbooks are the alerts, in their order");
    for rule in rules {
        let name = rule["alert"].as_str().expect("a name");
        let severity = rule["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning" | "info")), "{name}: {severity:?}");
        let text = |field: &str| rule["annotations"][field].as_str().unwrap_or_else(|| panic!("{name} has no {field}"));
        assert!(text("summary").ends_with('.') && text("summary").len() < 120, "{name}: {}", text("summary"));
        assert!(text("description").len() > 60, "{name}: {}", text("description"));
        let url = format!("https://github.com/mailfleet/mailfleet/blob/main/docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(text("runbook_url"), url);
    }
    for part in runbooks.split("\n## ").skip(1) {
        assert!(["**Means:**", "**Look:**", "**Do:**"].iter().all(|word| part.contains(word)), "{part}");
    }
}
