//! `mj-section` and `mj-wrapper`: full lines of a mail.

use super::{
    element::{Context, Element, Render},
    value,
};

/// A table that only Outlook reads, because it knows no `max-width`.
const OUTLOOK: &str = "<!--[if mso | IE]>";
const OUTLOOK_END: &str = "<![endif]-->";

impl Render<'_> {
    pub(super) fn section(&mut self, element: &Element<'_>, is_wrapper: bool) -> String {
        let is_full = element.get("full-width") == Some("full-width");
        let has_background = element.get("background-url").is_some();
        let inner = self.section_box(element, is_wrapper, is_full);
        let (before, after) = around(element);
        if !is_full {
            let inner = if has_background { vml(element, false, &inner) } else { inner };
            return format!("{before}\n{inner}\n{after}");
        }
        let inner = format!("{before}\n{inner}\n{after}");
        let inner = if has_background { vml(element, true, &inner) } else { inner };
        let background = background(element);
        let mut style: Vec<(&str, Option<&str>)> = background.iter().map(|(name, value)| (*name, value.as_deref())).collect();
        style.push(("width", Some("100%")));
        let attributes = value::attributes(&[
            ("align", Some("center")),
            ("class", element.get("css-class")),
            ("background", element.get("background-url")),
            ("border", Some("0")),
            ("cellpadding", Some("0")),
            ("cellspacing", Some("0")),
            ("role", Some("presentation")),
            ("style", Some(&value::style(&style))),
        ]);
        format!("<table{attributes}>\n<tbody>\n<tr>\n<td>\n{inner}\n</td>\n</tr>\n</tbody>\n</table>")
    }

    fn section_box(&mut self, element: &Element<'_>, is_wrapper: bool, is_full: bool) -> String {
        let radius = element.truly("border-radius");
        let background = if is_full { Vec::new() } else { background(element) };
        let background: Vec<(&str, Option<&str>)> = background.iter().map(|(name, value)| (*name, value.as_deref())).collect();
        let gap = element.context.gap.as_deref().filter(|_| element.place.index > 0);
        let mut div = background.clone();
        div.extend([
            ("margin", Some("0px auto")),
            ("max-width", Some(&*element.context.width)),
            ("border-radius", element.get("border-radius")),
            ("overflow", radius.map(|_| "hidden")),
            ("margin-top", gap),
        ]);
        let mut table = background;
        table.extend([("width", Some("100%")), ("border-collapse", radius.map(|_| "separate"))]);
        let td = value::style(&[
            ("border", element.get("border")),
            ("border-bottom", element.get("border-bottom")),
            ("border-left", element.get("border-left")),
            ("border-right", element.get("border-right")),
            ("border-top", element.get("border-top")),
            ("border-radius", element.get("border-radius")),
            ("direction", element.get("direction")),
            ("font-size", Some("0px")),
            ("padding", element.get("padding")),
            ("padding-bottom", element.get("padding-bottom")),
            ("padding-left", element.get("padding-left")),
            ("padding-right", element.get("padding-right")),
            ("padding-top", element.get("padding-top")),
            ("text-align", element.get("text-align")),
        ]);
        let outer = value::attributes(&[("class", element.get("css-class").filter(|_| !is_full)), ("style", Some(&value::style(&div)))]);
        let url = element.get("background-url");
        let table = value::attributes(&[
            ("align", Some("center")),
            ("background", url.filter(|_| !is_full)),
            ("border", Some("0")),
            ("cellpadding", Some("0")),
            ("cellspacing", Some("0")),
            ("role", Some("presentation")),
            ("style", Some(&value::style(&table))),
        ]);
        let (open, close) = if url.is_some() { ("<div style=\"line-height:0;font-size:0;\">\n", "</div>\n") } else { ("", "") };
        let children = self.section_children(element, is_wrapper);
        let td = value::attributes(&[("style", Some(&td))]);
        format!(
            "<div{outer}>\n{open}<table{table}>\n<tbody>\n<tr>\n<td{td}>\n\
             {OUTLOOK}<table role=\"presentation\" border=\"0\" cellpadding=\"0\" cellspacing=\"0\">{OUTLOOK_END}\n\
             {children}\n{OUTLOOK}</table>{OUTLOOK_END}\n</td>\n</tr>\n</tbody>\n</table>\n{close}</div>"
        )
    }

    fn section_children(&mut self, element: &Element<'_>, is_wrapper: bool) -> String {
        let context = Context {
            width: format!("{}px", element.widths().content),
            gap: element.get("gap").map(str::to_owned),
            gutter: element.get("gutter").map(str::to_owned),
            direction: element.get("direction").map(str::to_owned),
            ..element.context.clone()
        };
        if is_wrapper {
            return self.children(element, &context, &[], &mut |render, child| {
                let attributes = value::attributes(&[
                    ("align", child.get("align")),
                    ("class", Some(&value::suffixed(child.get("css-class"), "outlook"))),
                    ("width", Some(&element.context.width)),
                ]);
                let inner = render.render(child);
                format!("{OUTLOOK}<tr><td{attributes}>{OUTLOOK_END}\n{inner}\n{OUTLOOK}</td></tr>{OUTLOOK_END}")
            });
        }
        let children = self.children(element, &context, &[], &mut |render, child| {
            let attributes = value::attributes(&[
                ("align", child.get("align")),
                ("class", Some(&value::suffixed(child.get("css-class"), "outlook"))),
                ("style", Some(&child.outlook_cell())),
            ]);
            let inner = render.render(child);
            format!("{OUTLOOK}<td{attributes}>{OUTLOOK_END}\n{inner}\n{OUTLOOK}</td>{OUTLOOK_END}")
        });
        format!("{OUTLOOK}<tr>{OUTLOOK_END}\n{children}\n{OUTLOOK}</tr>{OUTLOOK_END}")
    }
}

/// What stands before and after a section for Outlook.
fn around(element: &Element<'_>) -> (String, String) {
    let has_gap = element.context.gap.as_deref().is_some_and(|gap| !gap.is_empty());
    let style = value::style(&[
        ("width", Some(&*element.context.width)),
        ("padding-top", element.context.gap.as_deref().filter(|_| element.place.index > 0)),
    ]);
    let attributes = value::attributes(&[
        ("align", Some("center")),
        ("border", Some("0")),
        ("cellpadding", Some("0")),
        ("cellspacing", Some("0")),
        ("class", Some(&value::suffixed(element.get("css-class"), "outlook"))),
        ("role", Some("presentation")),
        ("style", Some(&style)),
        ("width", Some(&value::int(&element.context.width).to_string())),
        ("bgcolor", element.truly("background-color").filter(|_| !has_gap)),
    ]);
    (
        format!("{OUTLOOK}<table{attributes}><tr><td style=\"line-height:0px;font-size:0px;mso-line-height-rule:exactly;\">{OUTLOOK_END}"),
        format!("{OUTLOOK}</td></tr></table>{OUTLOOK_END}"),
    )
}

fn background(element: &Element<'_>) -> Vec<(&'static str, Option<String>)> {
    let colour = element.get("background-color").map(str::to_owned);
    let Some(url) = element.truly("background-url") else { return vec![("background", colour.clone()), ("background-color", colour)] };
    let (x, y) = position(element);
    let repeat = element.get("background-repeat").unwrap_or_default();
    let size = element.get("background-size").unwrap_or_default();
    let parts = [colour.unwrap_or_default(), format!("url('{url}')"), format!("{x} {y}"), format!("/ {size}"), repeat.to_owned()];
    let shorthand = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    vec![
        ("background", Some(shorthand)),
        ("background-position", Some(format!("{x} {y}"))),
        ("background-repeat", Some(repeat.to_owned())),
        ("background-size", Some(size.to_owned())),
    ]
}

/// Where the background lies; the two words of its attribute come in any order.
fn position(element: &Element<'_>) -> (String, String) {
    let words: Vec<&str> = element.get("background-position").unwrap_or_default().split(' ').collect();
    let (x, y) = match words[..] {
        [one @ ("top" | "bottom")] => ("center", one),
        [one] => (one, "center"),
        [one @ ("top" | "bottom"), two] | [one @ "center", two @ ("left" | "right")] => (two, one),
        [one, two] => (one, two),
        _ => ("center", "top"),
    };
    let own = |name, other: &str| element.truly(name).unwrap_or(other).to_owned();
    (own("background-position-x", x), own("background-position-y", y))
}

/// A background image in the language of Outlook.
fn vml(element: &Element<'_>, is_full: bool, inner: &str) -> String {
    let is_percent = |text: &str| {
        text.strip_suffix('%').is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()) && number.parse::<f64>().is_ok())
    };
    let percent = |text: &str, names: [&str; 3], other: &str| match names.iter().position(|name| *name == text) {
        Some(index) => ["0%", "50%", "100%"][index].to_owned(),
        None if is_percent(text) => text.to_owned(),
        None => other.to_owned(),
    };
    let (x, y) = position(element);
    let repeat = element.get("background-repeat").unwrap_or_default();
    let size = element.get("background-size").unwrap_or_default();
    let place = |text: String| {
        let share = value::int(&text) / 100.0;
        if repeat == "repeat" { share } else { (-50.0 + share * 100.0) / 100.0 }
    };
    let (mut x, mut y) = (place(percent(&x, ["left", "center", "right"], "50%")), place(percent(&y, ["top", "center", "bottom"], "0%")));
    let mut kind = if repeat == "no-repeat" { "frame" } else { "tile" };
    if size == "auto" {
        (kind, x, y) = ("tile", 0.5, 0.0);
    }
    let (fill_size, aspect) = match size {
        "cover" => (Some("1,1".to_owned()), Some("atleast")),
        "contain" => (Some("1,1".to_owned()), Some("atmost")),
        "auto" => (None, None),
        _ if !size.contains(' ') => (Some(size.to_owned()), Some("atmost")),
        _ => (Some(size.replace(' ', ",")), None),
    };
    let style = if is_full { "mso-width-percent:1000;".to_owned() } else { format!("width:{};", element.context.width) };
    let rect = value::attributes(&[
        ("style", Some(&style)),
        ("xmlns:v", Some("urn:schemas-microsoft-com:vml")),
        ("fill", Some("true")),
        ("stroke", Some("false")),
    ]);
    let position = format!("{x}, {y}");
    let fill = value::attributes(&[
        ("origin", Some(&position)),
        ("position", Some(&position)),
        ("src", element.get("background-url")),
        ("color", element.get("background-color")),
        ("type", Some(kind)),
        ("size", fill_size.as_deref()),
        ("aspect", aspect),
    ]);
    format!(
        "{OUTLOOK}<v:rect{rect}><v:fill{fill} /><v:textbox style=\"mso-fit-shape-to-text:true\" inset=\"0,0,0,0\">{OUTLOOK_END}\n\
         {inner}\n{OUTLOOK}</v:textbox></v:rect>{OUTLOOK_END}"
    )
}
