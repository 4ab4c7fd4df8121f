//! `mj-column` and `mj-group`: what stands side by side on a wide screen.

use super::{
    element::{Context, Element, Render},
    value::{self, round, six},
};

/// Top, right, bottom and left.
type Sides = [f64; 4];

impl Element<'_> {
    /// The width of a column or group as it was asked for, or its share, and the unit.
    fn asked(&self) -> (f64, String) {
        let share = || format!("{}%", 100.0 / count(self.place.columns));
        let width = self.truly("width").map_or_else(share, str::to_owned);
        let (number, unit) = value::size(&width, true);
        (number, unit.to_owned())
    }

    /// The width in pixels of a column or group.
    pub(super) fn pixels(&self) -> f64 {
        let (number, unit) = self.asked();
        let pixels = if unit == "%" { value::float(&self.context.width) * number / 100.0 } else { number };
        if self.node.name() == "mj-column" { round(pixels) } else { pixels }
    }

    /// The style of the cell that Outlook sees around it.
    pub(super) fn outlook_cell(&self) -> String {
        if !matches!(self.node.name(), "mj-column" | "mj-group") {
            return String::new();
        }
        let padding = self.gutter().filter(|_| self.node.name() == "mj-column").map(|_| padding(self.wide_gutter("px"), "px"));
        value::style(&[
            ("vertical-align", self.get("vertical-align")),
            ("width", Some(&format!("{}px", self.pixels()))),
            ("padding", padding.as_deref()),
        ])
    }

    fn gutter(&self) -> Option<&str> {
        self.context.gutter.as_deref().filter(|gutter| !gutter.is_empty())
    }

    /// The gutter in another unit.
    fn gutter_in(&self, unit: &str) -> f64 {
        let Some(gutter) = self.gutter() else { return 0.0 };
        let room = value::float(&self.context.width);
        match (value::size(gutter, true), unit) {
            ((number, "px"), "%") => number / room * 100.0,
            ((number, "%"), "px") => room * number / 100.0,
            ((number, _), _) => number,
        }
    }

    /// What each column gives up on a wide screen so that all gutters have room.
    fn wide_gutter(&self, unit: &str) -> Sides {
        let place = self.place;
        if place.siblings == 1 {
            return [0.0; 4];
        }
        let is_px = unit == "px";
        let gutter = if is_px { round(self.gutter_in(unit)) } else { self.gutter_in(unit) };
        let (leading, trailing) = if is_px { ((gutter / 2.0).ceil(), (gutter / 2.0).floor()) } else { (gutter / 2.0, gutter / 2.0) };
        let (is_first, is_last) = (place.index == 0, place.index + 1 == place.siblings);
        let unless = |edge: bool, width: f64| if edge { 0.0 } else { width };
        if self.context.direction.as_deref() == Some("rtl") {
            [0.0, unless(is_first, trailing), 0.0, unless(is_last, leading)]
        } else {
            [0.0, unless(is_last, leading), 0.0, unless(is_first, trailing)]
        }
    }

    /// The width on a wide screen, gutters taken off.
    fn wide_width(&self) -> (f64, String) {
        let (number, unit) = self.asked();
        let siblings = count(self.place.siblings);
        let reduced = six(number - self.gutter_in(&unit) * (siblings - 1.0) / siblings).max(0.0);
        if unit != "px" {
            return (reduced, unit);
        }
        // Pixels that are left over go to the first columns, one each.
        let whole = reduced.floor();
        let extra = round(siblings * (reduced - whole)).clamp(0.0, siblings);
        (whole + if count(self.place.index) < extra { 1.0 } else { 0.0 }, unit)
    }

    fn narrow_width(&self) -> String {
        if self.get("mobileWidth") != Some("mobileWidth") {
            return "100%".to_owned();
        }
        let of_room = |width: f64| format!("{}%", six(width / value::int(&self.context.width) * 100.0));
        if self.context.is_in_group && self.gutter().is_some() {
            let (width, unit) = self.wide_width();
            return if unit == "%" { format!("{width}%") } else { of_room(width) };
        }
        let Some(width) = self.get("width") else { return format!("{}%", (100.0 / count(self.place.columns)).trunc()) };
        match value::size(width, true) {
            (_, "%") => width.to_owned(),
            (number, _) => of_room(number),
        }
    }

    fn room_within(&self, taken: f64) -> String {
        let share = || format!("{}px", value::float(&self.context.width) / count(self.place.columns));
        let width = self.truly("width").map_or_else(share, str::to_owned);
        let pixels = match value::size(&width, true) {
            (number, "%") => value::float(&self.context.width) * number / 100.0,
            (number, _) => number,
        };
        format!("{}px", pixels - taken)
    }
}

#[expect(clippy::cast_precision_loss, reason = "columns of a mail are few")]
fn count(number: usize) -> f64 {
    number as f64
}

fn padding(sides: Sides, unit: &str) -> String {
    sides.map(|side| format!("{}{unit}", if unit == "px" { round(side) } else { six(side) })).join(" ")
}

fn rule(width: Option<(f64, &str)>, padding: Option<&str>) -> String {
    let width = width.map(|(number, unit)| format!(" width:{number}{unit} !important; max-width: {number}{unit};"));
    let padding = padding.map(|padding| format!(" padding: {padding} !important;"));
    format!("{{{}{} }}", width.unwrap_or_default(), padding.unwrap_or_default())
}

impl Render<'_> {
    /// The classes of a column, whose rules stand in the head.
    fn column_classes(&mut self, element: &Element<'_>) -> String {
        let (number, unit) = if element.gutter().is_some() { element.wide_width() } else { element.asked() };
        let number = if unit == "px" { round(number) } else { number };
        let kind = if unit == "%" { "per" } else { "px" };
        let mut classes = format!("mj-column-{kind}-{}", number.to_string().replacen('.', "-", 1));
        self.query(classes.clone(), rule(Some((number, &unit)), None));
        if element.gutter().is_some() {
            let (_, unit) = element.asked();
            let gutter = element.gutter_in(&unit);
            let gutter = six(if unit == "px" { round(gutter) } else { gutter }).to_string().replacen('.', "-", 1);
            let kind = if unit == "%" { "per" } else { &*unit };
            let direction = if element.context.direction.as_deref() == Some("rtl") { "-rtl" } else { "" };
            let class = format!("mj-column-gutter-{}-{}-{kind}-{gutter}{direction}", element.place.siblings, element.place.index + 1);
            if !element.context.is_in_group {
                self.query(class.clone(), rule(None, Some(&padding(element.wide_gutter(&unit), &unit))));
            }
            classes = format!("{classes} {class}");
        }
        classes.push_str(" mj-outlook-group-fix");
        if let Some(own) = element.truly("css-class") {
            classes = format!("{classes} {own}");
        }
        classes
    }

    pub(super) fn column(&mut self, element: &Element<'_>) -> String {
        let room = value::int(&element.context.width);
        // Shares of nothing are no numbers.
        if (room == 0.0 || room.is_nan()) && (element.gutter().is_some() || element.context.is_in_group) {
            self.faults.push(format!("line {}: paddings and borders around this <mj-column> leave no room for it", element.node.line));
        }
        let classes = self.column_classes(element);
        let half = element.gutter_in("%") / 2.0;
        let (is_first, is_last) = (element.place.index == 0, element.place.index + 1 == element.place.siblings);
        let gutter = element.gutter().map(|_| {
            if element.context.is_in_group {
                let unit = element.asked().1;
                padding(element.wide_gutter(&unit), &unit)
            } else {
                // Columns stand below each other there.
                padding([if is_first { 0.0 } else { half }, 0.0, if is_last { 0.0 } else { half }, 0.0], "%")
            }
        });
        let style = value::style(&[
            ("font-size", Some("0px")),
            ("text-align", Some("left")),
            ("direction", element.get("direction")),
            ("display", Some("inline-block")),
            ("vertical-align", element.get("vertical-align")),
            ("width", Some(&element.narrow_width())),
            ("padding", gutter.as_deref()),
        ]);
        let attributes = value::attributes(&[("class", Some(&classes)), ("style", Some(&style))]);
        let sides = ["padding", "padding-bottom", "padding-left", "padding-right", "padding-top"];
        let has_padding = sides.iter().any(|side| element.get(side).is_some());
        let inner = self.column_table(element, has_padding);
        if !has_padding {
            return format!("<div{attributes}>\n{inner}\n</div>");
        }
        let mut cell = own_box(element, "");
        cell.extend(element.same(&["padding", "padding-top", "padding-right", "padding-bottom", "padding-left"]));
        let table = value::attributes(&[
            ("border", Some("0")),
            ("cellpadding", Some("0")),
            ("cellspacing", Some("0")),
            ("role", Some("presentation")),
            ("width", Some("100%")),
            ("style", element.truly("border-radius").map(|_| "border-collapse:separate;")),
        ]);
        let cell = value::attributes(&[("style", Some(&value::style(&cell)))]);
        format!("<div{attributes}>\n<table{table}>\n<tbody>\n<tr>\n<td{cell}>\n{inner}\n</td>\n</tr>\n</tbody>\n</table>\n</div>")
    }

    fn column_table(&mut self, element: &Element<'_>, has_padding: bool) -> String {
        let mut style = own_box(element, if has_padding { "inner-" } else { "" });
        if element.truly("inner-border-radius").is_some() && !style.contains(&("border-collapse", Some("separate"))) {
            style.push(("border-collapse", Some("separate")));
        }
        let table = value::attributes(&[
            ("border", Some("0")),
            ("cellpadding", Some("0")),
            ("cellspacing", Some("0")),
            ("role", Some("presentation")),
            ("style", Some(&value::style(&style))),
            ("width", Some("100%")),
        ]);
        let widths = element.widths();
        let taken = widths.paddings + widths.borders + element.borders("inner-border");
        let context = Context { width: element.room_within(taken), ..element.context.clone() };
        let children = self.children(element, &context, &[], &mut |render, child| render.row(child, false));
        format!("<table{table}>\n<tbody>{children}</tbody>\n</table>")
    }

    pub(super) fn group(&mut self, element: &Element<'_>) -> String {
        let (number, unit) = element.asked();
        let class = format!("mj-column-{}-{}", if unit == "%" { "per" } else { "px" }, number.trunc());
        self.query(class.clone(), rule(Some((number, &unit)), None));
        let mut classes = format!("{class} mj-outlook-group-fix");
        if let Some(own) = element.truly("css-class") {
            classes = format!("{classes} {own}");
        }
        let style = value::style(&[
            ("font-size", Some("0")),
            ("line-height", Some("0")),
            ("text-align", Some("left")),
            ("display", Some("inline-block")),
            ("width", Some("100%")),
            ("direction", element.get("direction")),
            ("vertical-align", element.get("vertical-align")),
            ("background-color", element.get("background-color")),
        ]);
        let attributes = value::attributes(&[("class", Some(&classes)), ("style", Some(&style))]);
        let table = value::attributes(&[
            ("bgcolor", element.get("background-color").filter(|colour| *colour != "none")),
            ("border", Some("0")),
            ("cellpadding", Some("0")),
            ("cellspacing", Some("0")),
            ("role", Some("presentation")),
        ]);
        let context = Context {
            width: element.room_within(element.sides("padding")),
            is_in_group: true,
            direction: element.get("direction").map(str::to_owned),
            ..element.context.clone()
        };
        let children = self.children(element, &context, &[("mobileWidth", Some("mobileWidth"))], &mut |render, child| {
            let style = value::style(&[
                ("align", child.get("align")),
                ("vertical-align", child.get("vertical-align")),
                ("width", Some(&format!("{}px", child.pixels()))),
            ]);
            let attributes = value::attributes(&[("style", Some(&style))]);
            let inner = render.render(child);
            format!("<!--[if mso | IE]><td{attributes}><![endif]-->\n{inner}\n<!--[if mso | IE]></td><![endif]-->")
        });
        format!(
            "<div{attributes}>\n<!--[if mso | IE]><table{table}><tr><![endif]-->\n{children}\n\
             <!--[if mso | IE]></tr></table><![endif]-->\n</div>"
        )
    }
}

/// Background and borders of a column; with a padding there are two, and the inner ones have the prefix.
fn own_box<'a>(element: &'a Element<'_>, prefix: &str) -> Vec<(&'static str, Option<&'a str>)> {
    let names = ["background-color", "border", "border-bottom", "border-left", "border-radius", "border-right", "border-top"];
    let mut list: Vec<(&'static str, Option<&'a str>)> =
        names.iter().map(|name| (*name, element.get(&format!("{prefix}{name}")))).collect();
    if prefix.is_empty() {
        list.push(("vertical-align", element.get("vertical-align")));
        list.push(("border-collapse", element.truly("border-radius").map(|_| "separate")));
    }
    list
}
