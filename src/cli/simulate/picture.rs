//! A picture of a simulation, in SVG: what each server took over time, one column for each stretch of it.

use std::fmt::Write as _;

use super::stretches::{Stretches, moment};
use crate::{
    meta::bound::{grouped, round_up},
    simulate::Simulated,
};

/// Servers with a colour of their own.
const COLOURS: [&str; 8] = ["#3b6fb6", "#d97b29", "#4d9a5b", "#a2559c", "#c1443c", "#7c6f5a", "#2a9d9d", "#8f8f2e"];
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 360.0;
/// Around the columns: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (72.0, 44.0, 16.0, 72.0);
/// Lines across.
const LINES: u64 = 4;

#[allow(clippy::cast_precision_loss)]
fn part(number: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { number as f64 / of as f64 }
}

/// The picture, as a document.
pub fn svg(simulated: &Simulated) -> String {
    let stretches = Stretches::of(simulated);
    let (left, top, right, bottom) = MARGIN;
    let (width, height) = (WIDTH - left - right, HEIGHT - top - bottom);
    let most = stretches.totals().max().unwrap_or(0);
    let line = round_up(most.div_ceil(LINES).max(1));
    let scale = line * most.div_ceil(line).max(1);
    let title = escaped(&format!("Accepted messages {}, by server, from {} (UTC)", stretches.words(), moment(simulated.from_ms)));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" aria-labelledby=\"title\">\n\
         <title id=\"title\">{title}</title>\n\
         <style>text{{font:12px system-ui,sans-serif;fill:#333}}.head{{font-weight:600;font-size:14px}}.line{{stroke:#ddd}}.ground{{fill:#fff}}\
         @media(prefers-color-scheme:dark){{text{{fill:#ddd}}.line{{stroke:#444}}.ground{{fill:#1b1d21}}}}</style>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n<text class=\"head\" x=\"{left}\" y=\"24\">{title}</text>\n"
    );
    // Writing to a string cannot fail.
    let mut put = |text: std::fmt::Arguments<'_>| {
        let _ = svg.write_fmt(text);
    };
    let y = |number: u64| top + height * (1.0 - part(number, scale));
    for number in (0..=scale).step_by(usize::try_from(line).unwrap_or(usize::MAX)) {
        let at = y(number);
        put(format_args!("<line class=\"line\" x1=\"{left}\" x2=\"{:.0}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\n", left + width));
        put(format_args!("<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n", left - 8.0, at + 4.0, grouped(number)));
    }
    #[allow(clippy::cast_precision_loss)]
    let step = width / stretches.rows.len().max(1) as f64;
    let every = stretches.rows.len().div_ceil(8).max(1);
    for (at, (from_ms, counts)) in stretches.rows.iter().enumerate() {
        #[allow(clippy::cast_precision_loss)]
        let x = left + step * at as f64;
        let mut below = 0;
        for (server, (count, key)) in counts.iter().zip(&stretches.servers).enumerate().filter(|(_, (count, _))| **count > 0) {
            let (high, low) = (y(below + count), y(below));
            let colour = COLOURS[server % COLOURS.len()];
            let name = escaped(&format!("{}, {key}: {}", stretches.name(*from_ms), grouped(*count)));
            put(format_args!(
                "<rect x=\"{:.1}\" y=\"{high:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"><title>{name}</title></rect>\n",
                x + step * 0.1,
                step * 0.8,
                low - high
            ));
            below += count;
        }
        if at % every == 0 {
            let name = escaped(&stretches.name(*from_ms));
            put(format_args!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>\n", x + step / 2.0, top + height + 18.0));
        }
    }
    let mut x = left;
    for (at, server) in stretches.servers.iter().enumerate().take(COLOURS.len()) {
        let name = escaped(&server.to_string());
        let y = HEIGHT - 20.0;
        put(format_args!("<rect x=\"{x:.0}\" y=\"{:.0}\" width=\"12\" height=\"12\" fill=\"{}\"/>\n", y - 10.0, COLOURS[at]));
        put(format_args!("<text x=\"{:.0}\" y=\"{y:.0}\">{name}</text>\n", x + 17.0));
        #[allow(clippy::cast_precision_loss)]
        let wide = server.to_string().chars().count() as f64 * 7.0 + 40.0;
        x += wide;
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_at_round_numbers() {
        assert_eq!([1, 3, 7, 12, 21, 99, 501].map(round_up), [1, 5, 10, 20, 50, 100, 1_000]);
    }
}
