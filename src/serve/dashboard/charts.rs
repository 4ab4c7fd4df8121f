//! Charts as SVG, each with its numbers as a table. Pure.

use maud::{Markup, html};

use super::{numbers::part, parts::scroll};
use crate::{
    feedback::Judged,
    meta::bound::{grouped, round_up},
};

/// The height of a chart, units of its own.
const HEIGHT: u64 = 100;

/// What came of messages in a span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// The time, in words.
    pub label: String,
    /// What came of the messages.
    pub judged: Judged,
}

/// Bars in the order of time, each with what was accepted, and what was rejected or bounced above it.
pub fn bars(title: &str, bars: &[Bar]) -> Markup {
    let sent = |bar: &Bar| bar.judged.accepted + bar.judged.rejected;
    let top = round_up(bars.iter().map(sent).max().unwrap_or(0));
    let height = |count: u64| if count == 0 { 0 } else { part(count, top, HEIGHT).max(1) };
    let total: u64 = bars.iter().map(|bar| bar.judged.accepted).sum();
    let (first, middle, last) = (bars.first(), bars.get(bars.len() / 2), bars.last());
    html! {
        figure.chart {
            figcaption { (title) span.sub { " " (grouped(total)) " accepted in all" } }
            div.plot {
                span.top { (grouped(top)) }
                svg viewBox={ "0 0 " (bars.len() * 10) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label={ (title) ": " (grouped(total)) " messages accepted in all, " (grouped(top)) " at the top of the chart; the numbers are in the table below" } {
                    line.grid x1="0" x2=(bars.len() * 10) y1="0.5" y2="0.5" {}
                    line.grid x1="0" x2=(bars.len() * 10) y1=(HEIGHT / 2) y2=(HEIGHT / 2) {}
                    @for (place, bar) in bars.iter().enumerate() {
                        @let (good, bad) = (height(bar.judged.accepted), height(bar.judged.rejected));
                        @if good > 0 { rect.good x=(place * 10 + 1) width="8" y=(HEIGHT - good.min(HEIGHT)) height=(good) {} }
                        @if bad > 0 { rect.bad x=(place * 10 + 1) width="8" y=(HEIGHT.saturating_sub(good + bad)) height=(bad) {} }
                    }
                    line.base x1="0" x2=(bars.len() * 10) y1=(HEIGHT) y2=(HEIGHT) {}
                }
                div.axis aria-hidden="true" { @for bar in [first, middle, last].into_iter().flatten() { span { (bar.label) } } }
            }
            details {
                summary { "As a table" }
                (scroll(title, &html! {
                    table {
                        thead { tr { th scope="col" { "UTC" } th.n scope="col" { "Accepted" } th.n scope="col" { "Rejected" } th.n scope="col" { "Bounced" } th.n scope="col" { "Complained" } } }
                        tbody {
                            @for bar in bars.iter().rev() {
                                tr { th scope="row" { (bar.label) } @for count in [bar.judged.accepted, bar.judged.rejected, bar.judged.bounced, bar.judged.complained] { td.n { (grouped(count)) } } }
                            }
                        }
                    }
                }))
            }
        }
    }
}

/// A bar for each span of time until now, those without messages included; `label` names a span by its start.
pub fn spans(sums: &[(i64, Judged)], per_ms: i64, count: i64, now_ms: i64, label: impl Fn(&str) -> String) -> Vec<Bar> {
    let newest = now_ms.div_euclid(per_ms) * per_ms;
    (0..count)
        .rev()
        .map(|back| {
            let at = newest - back * per_ms;
            let judged = sums.iter().find(|(start, _)| *start == at).map_or_else(Judged::default, |(_, judged)| *judged);
            let text = jiff::Timestamp::from_millisecond(at).map_or_else(|_| String::new(), |at| at.to_string());
            Bar { label: label(&text), judged }
        })
        .collect()
}

/// Two shares of the same thing, in thousandths of a percent or any other unit of `of`: what is wanted, and what is.
pub fn shares(wanted: u64, is: u64, of: u64, label: &str) -> Markup {
    html! {
        svg.shares viewBox="0 0 1000 22" preserveAspectRatio="none" role="img" aria-label=(label) {
            rect.track width="1000" height="10" {}
            rect.wanted width=(part(wanted, of, 1000)) height="10" {}
            rect.track y="12" width="1000" height="10" {}
            rect.fill y="12" width=(part(is, of, 1000)) height="10" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_is_a_round_number_and_spans_without_messages_are_shown() {
        assert_eq!([0, 1, 3, 20, 21, 999, 1000, 1001].map(round_up), [1, 1, 5, 20, 50, 1000, 1000, 2000]);
        assert!(round_up(u64::MAX) > 0);
        let hour = 3_600_000;
        let some = Judged { accepted: 7, rejected: 2, ..Judged::default() };
        let shown = spans(&[(2 * hour, some), (9 * hour, some)], hour, 3, 4 * hour + 5, |text| text[11..16].to_owned());
        let labels: Vec<(&str, u64)> = shown.iter().map(|bar| (&*bar.label, bar.judged.accepted)).collect();
        assert_eq!(labels, [("02:00", 7), ("03:00", 0), ("04:00", 0)]);
        let chart = bars("Hours", &shown).into_string();
        assert!(chart.contains("7 accepted in all") && chart.matches("<rect").count() == 2, "{chart}");
    }
}
