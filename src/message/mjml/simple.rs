//! Elements that hold no others: `mj-text`, `mj-button`, `mj-image`, `mj-divider`, `mj-spacer` and `mj-table`.

use super::{
    element::{Element, Render},
    head, value,
};

pub(super) fn text(element: &Element<'_>) -> String {
    let mut style = element.same(&["font-family", "font-size", "font-style", "font-weight", "letter-spacing", "line-height"]);
    style.push(("text-align", element.get("align")));
    style.extend(element.same(&["text-decoration", "text-transform", "color", "height"]));
    let div = format!("<div{}>{}</div>", value::attributes(&[("style", Some(&value::style(&style)))]), element.content());
    let Some(height) = element.truly("height") else { return div };
    let cell = value::attributes(&[("height", Some(height)), ("style", Some(&format!("vertical-align:top;height:{height};")))]);
    format!(
        "<!--[if mso | IE]><table role=\"presentation\" border=\"0\" cellpadding=\"0\" cellspacing=\"0\"><tr><td{cell}><![endif]-->\n\
         {div}\n<!--[if mso | IE]></td></tr></table><![endif]-->"
    )
}

pub(super) fn button(element: &Element<'_>) -> String {
    let table = value::style(&[("border-collapse", Some("separate")), ("width", element.get("width")), ("line-height", Some("100%"))]);
    let table = value::attributes(&[
        ("border", Some("0")),
        ("cellpadding", Some("0")),
        ("cellspacing", Some("0")),
        ("role", Some("presentation")),
        ("style", Some(&table)),
    ]);
    let colour = element.get("background-color");
    let mut cell = element.same(&["border", "border-bottom", "border-left", "border-radius", "border-right", "border-top"]);
    cell.push(("cursor", Some("auto")));
    cell.extend(element.same(&["font-style", "height"]));
    cell.push(("mso-padding-alt", element.get("inner-padding")));
    cell.extend(element.same(&["text-align"]));
    cell.push(("background", colour));
    let cell = value::attributes(&[
        ("align", Some("center")),
        ("bgcolor", colour.filter(|colour| *colour != "none")),
        ("role", Some("presentation")),
        ("style", Some(&value::style(&cell))),
        ("valign", element.get("vertical-align")),
    ]);
    let width = element.truly("width").map(|width| value::size(width, false)).filter(|(_, unit)| *unit == "px");
    let width = width.map(|(width, _)| format!("{}px", width - element.sides("inner-padding") - element.widths().borders));
    let mut style = vec![("display", Some("inline-block")), ("width", width.as_deref()), ("background", colour)];
    style.extend(element.same(&["color", "font-family", "font-size", "font-style", "font-weight", "line-height", "letter-spacing"]));
    style.push(("margin", Some("0")));
    style.extend(element.same(&["text-decoration", "text-transform"]));
    style.extend([("padding", element.get("inner-padding")), ("mso-padding-alt", Some("0px"))]);
    style.extend(element.same(&["border-radius"]));
    let name = if element.truly("href").is_some() { "a" } else { "p" };
    let link = value::attributes(&[
        ("href", element.get("href")),
        ("name", element.get("name")),
        ("rel", element.get("rel")),
        ("title", element.get("title")),
        ("style", Some(&value::style(&style))),
        ("target", element.get("target").filter(|_| name == "a")),
    ]);
    format!("<table{table}>\n<tbody>\n<tr>\n<td{cell}>\n<{name}{link}>\n{}\n</{name}>\n</td>\n</tr>\n</tbody>\n</table>", element.content())
}

pub(super) fn divider(element: &Element<'_>) -> String {
    let margin = match element.get("align") {
        Some("left") => "0px",
        Some("right") => "0px 0px 0px auto",
        _ => "0px auto",
    };
    let part = |name: &str| element.get(&format!("border-{name}")).unwrap_or_default();
    let border = format!("{} {} {}", part("style"), part("width"), part("color"));
    let style = |width: Option<&str>| {
        value::style(&[("border-top", Some(&*border)), ("font-size", Some("1px")), ("margin", Some(margin)), ("width", width)])
    };
    let room = value::int(&element.context.width) - element.sides("padding");
    let width = element.get("width").unwrap_or_default();
    let outlook = match value::size(width, false) {
        // Minus zero is printed as zero.
        (number, "%") => format!("{}px", room * (number / 100.0) + 0.0),
        (_, "px") => width.to_owned(),
        _ => format!("{room}px"),
    };
    let table = value::attributes(&[
        ("align", element.get("align")),
        ("border", Some("0")),
        ("cellpadding", Some("0")),
        ("cellspacing", Some("0")),
        ("style", Some(&style(Some(&outlook)))),
        ("role", Some("presentation")),
        ("width", Some(&outlook)),
    ]);
    format!(
        "<p{}>\n</p>\n<!--[if mso | IE]><table{table}><tr><td style=\"height:0;line-height:0;\"> &nbsp;\n</td></tr></table><![endif]-->",
        value::attributes(&[("style", Some(&style(Some(width))))])
    )
}

pub(super) fn spacer(element: &Element<'_>) -> String {
    let height = element.get("height");
    let style = value::style(&[("height", height), ("line-height", height)]);
    format!("<div{}>&#8202;</div>", value::attributes(&[("style", Some(&style))]))
}

pub(super) fn table(element: &Element<'_>) -> String {
    let spacing: String = element.get("cellspacing").unwrap_or_default().chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    let mut style = element.same(&["color", "font-family", "font-size", "line-height", "table-layout", "width", "border"]);
    style.push(("border-collapse", (value::float(&spacing) > 0.0).then_some("separate")));
    let width = element.get("width").unwrap_or_default();
    let width = match value::size(width, false) {
        (_, "%" | "auto") => width.to_owned(),
        (number, _) => number.to_string(),
    };
    let attributes = value::attributes(&[
        ("cellpadding", element.get("cellpadding")),
        ("cellspacing", element.get("cellspacing")),
        ("role", element.get("role")),
        ("width", Some(&width)),
        ("border", Some("0")),
        ("style", Some(&value::style(&style))),
    ]);
    format!("<table{attributes}>\n{}\n</table>", element.content())
}

impl Render<'_> {
    pub(super) fn image(&mut self, element: &Element<'_>) -> String {
        let breakpoint = head::below(&self.head.breakpoint);
        self.css("mj-image", || {
            format!(
                "@media only screen and (max-width:{breakpoint}) {{\n\
                 table.mj-full-width-mobile {{ width: 100% !important; }}\n\
                 td.mj-full-width-mobile {{ width: auto !important; }}\n}}"
            )
        });
        let is_full = element.get("full-width") == Some("full-width");
        let room = element.widths().content;
        // Without a number in it, as in `auto`, it is all there is.
        let width = element.truly("width").map_or(room, |width| room.min(value::int(width)));
        let full = is_full.then_some("100%");
        let mut style = element.same(&["border", "border-left", "border-right", "border-top", "border-bottom", "border-radius"]);
        style.extend([("display", Some("block")), ("outline", Some("none")), ("text-decoration", Some("none"))]);
        style.extend(element.same(&["height", "max-height"]));
        style.extend([("min-width", full), ("width", Some("100%")), ("max-width", full), ("font-size", element.get("font-size"))]);
        let height =
            element.truly("height").map(|height| if height == "auto" { height.to_owned() } else { value::int(height).to_string() });
        let image = value::attributes(&[
            ("alt", element.get("alt")),
            ("src", element.get("src")),
            ("srcset", element.get("srcset")),
            ("sizes", element.get("sizes")),
            ("style", Some(&value::style(&style))),
            ("title", element.get("title")),
            ("width", Some(&width.to_string())),
            ("usemap", element.get("usemap")),
            ("height", height.as_deref()),
        ]);
        let image = format!("<img{image} />");
        let image = if element.truly("href").is_some() {
            let link = value::attributes(&element.same(&["href", "target", "rel", "name", "title"]));
            format!("<a{link}>\n{image}\n</a>")
        } else {
            image
        };
        let width = format!("{width}px");
        let class = element.truly("fluid-on-mobile").map(|_| "mj-full-width-mobile");
        let table = value::style(&[
            ("min-width", full),
            ("max-width", full),
            ("width", full.map(|_| &*width)),
            ("border-collapse", Some("collapse")),
            ("border-spacing", Some("0px")),
        ]);
        let table = value::attributes(&[
            ("border", Some("0")),
            ("cellpadding", Some("0")),
            ("cellspacing", Some("0")),
            ("role", Some("presentation")),
            ("style", Some(&table)),
            ("class", class),
        ]);
        let cell = value::style(&[("width", (!is_full).then_some(&*width))]);
        let cell = value::attributes(&[("style", Some(&cell)), ("class", class)]);
        format!("<table{table}>\n<tbody>\n<tr>\n<td{cell}>\n{image}\n</td>\n</tr>\n</tbody>\n</table>")
    }
}
